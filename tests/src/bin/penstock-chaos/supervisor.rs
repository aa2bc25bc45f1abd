//! The operator's process: started again whenever it ends, as the kubelet does.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use penstock_e2e::process::{Ledger, Process, Sandbox, Spec};
use tokio::task::JoinHandle;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(20);
/// A process that ends by itself more often than this is not started again.
const SURPRISES: usize = 3;

/// Keeps one operator running. It ends with the value.
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    ledger: Ledger,
    spec: Spec,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wanted: bool,
    process: Option<Process>,
    /// What it said when it ended without being killed.
    surprises: Vec<String>,
}

impl Supervisor {
    /// For the program `operator`, with the API server at `url`; it does not run yet.
    pub(crate) fn new(operator: &Path, url: &str, dir: &Path) -> Result<Self> {
        let ledger = Ledger::open(dir.join("operator"))?;
        let spec = Spec {
            name: "operator".into(),
            program: operator.to_owned(),
            args: vec!["--http-address=127.0.0.1:0".into()],
            env: environment(url, dir)?,
            sandbox: Sandbox { die_with_parent: true, ..Sandbox::default() },
        };
        let shared = Arc::new(Shared { ledger, spec, state: Mutex::default() });
        let watched = shared.clone();
        let task = tokio::spawn(async move {
            loop {
                watched.restart();
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Ok(Self { shared, task })
    }

    /// From now on it runs. Its log begins anew.
    pub(crate) fn start(&self) -> Result<()> {
        let log = self.shared.ledger.log("operator");
        std::fs::write(&log, "").with_context(|| format!("empty {}", log.display()))?;
        self.shared.lock().surprises.clear();
        self.shared.lock().wanted = true;
        self.shared.restart();
        Ok(())
    }

    /// Kills it, for good.
    pub(crate) fn stop(&self) {
        self.shared.lock().wanted = false;
        self.shared.kill();
    }

    /// What kills it, to be started again.
    pub(crate) fn killer(&self) -> Arc<dyn Fn() + Send + Sync> {
        let shared = self.shared.clone();
        Arc::new(move || shared.kill())
    }

    /// What it said each time that it ended by itself.
    pub(crate) fn surprises(&self) -> Vec<String> {
        self.shared.lock().surprises.clone()
    }

    /// All that it has logged since the start.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.shared.ledger.log("operator")).unwrap_or_default()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restart(&self) {
        let mut state = self.lock();
        if let Some(process) = state.process.take_if(|process| !process.is_alive()) {
            state.surprises.push(process.log_tail());
        }
        if !state.wanted || state.process.is_some() || state.surprises.len() > SURPRISES {
            return;
        }
        match self.ledger.spawn(&self.spec) {
            Ok(process) => state.process = Some(process),
            Err(error) => state.surprises.push(format!("{error:#}")),
        }
    }

    fn kill(&self) {
        let mut state = self.lock();
        let Some(process) = state.process.take() else { return };
        if let Err(error) = process.kill() {
            state.surprises.push(format!("{error:#}"));
        }
    }
}

fn environment(url: &str, dir: &Path) -> Result<Vec<(String, String)>> {
    let kubeconfig = kubeconfig(url, dir)?.display().to_string();
    let fixed = [
        ("KUBECONFIG", kubeconfig.as_str()),
        // The same identity after a restart, as a pod has whose container was restarted.
        ("POD_NAME", "penstock-operator-chaos"),
        ("POD_NAMESPACE", crate::user::NAMESPACE),
    ];
    let all = fixed.into_iter().chain(crate::aws::CREDENTIALS);
    Ok(all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn kubeconfig(url: &str, dir: &Path) -> Result<PathBuf> {
    let path = dir.join("proxy.kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: a, cluster: {{server: '{url}'}}}}]\n\
         contexts: [{{name: a, context: {{cluster: a, user: ''}}}}]\ncurrent-context: a\n"
    );
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
