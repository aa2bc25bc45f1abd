use std::time::Duration;

use tokio::time::timeout;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// One of the processes of a node; all of this test are in one.
struct Process {
    succession: Succession,
    news: mpsc::Receiver<Input>,
}

impl Process {
    async fn start(name: Option<&str>) -> Self {
        let (news, heard) = mpsc::channel(8);
        Self { succession: Succession::start(name, news).await.unwrap(), news: heard }
    }

    async fn hears(&mut self) -> Predecessor {
        match timeout(LIMIT, self.news.recv()).await.unwrap().unwrap() {
            Input::Predecessor(predecessor) => predecessor,
            other => panic!("{other:?}"),
        }
    }

    fn has_heard(&mut self) -> bool {
        self.news.try_recv().is_ok()
    }

    /// Waits until somebody stands ready behind it.
    async fn yields(&mut self, standing: Option<&Standing>) -> Successor {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            if let Some(successor) = self.succession.yield_to_next(standing).await {
                return successor;
            }
            assert!(tokio::time::Instant::now() < deadline, "nobody is ready");
            tokio::task::yield_now().await;
        }
    }
}

fn name(of: &str) -> String {
    format!("penstock-test-{}-{of}", std::process::id())
}

fn standing() -> Standing {
    Standing::All(["203.0.113.1".parse().unwrap(), "2001:db8::1".parse().unwrap()].into())
}

#[tokio::test]
async fn without_a_name_there_is_nobody_to_follow() {
    let mut alone = Process::start(None).await;
    assert_eq!(alone.hears().await, Predecessor::Gone);
    assert!(alone.succession.yield_to_next(None).await.is_none());
}

/// A runtime of its own stands for a process: what it has is closed when it ends.
#[tokio::test]
async fn the_next_one_takes_over_when_told_and_all_when_the_first_is_gone() {
    let name = name("succession");
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = name.clone();
    let mut first = process.spawn(async move { Process::start(Some(&first)).await }).await.unwrap();
    assert_eq!(first.hears().await, Predecessor::Gone);

    let mut next = Process::start(Some(&name)).await;
    assert!(first.succession.yield_to_next(None).await.is_none(), "it is not ready");
    next.succession.reached(Progress::Ready);
    let successor = first.yields(Some(&standing())).await;
    assert_eq!(next.hears().await, Predecessor::Yields(Some(standing())));

    let answers = successor.answers();
    next.succession.reached(Progress::Answering);
    let until_the_end = timeout(LIMIT, answers).await.unwrap().unwrap();
    assert!(!next.has_heard(), "the first one is still there");
    drop((until_the_end, first));
    process.shutdown_background();
    assert_eq!(next.hears().await, Predecessor::Gone);
}

#[tokio::test]
async fn the_next_one_takes_over_also_from_one_that_dies() {
    let name = name("death");
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = name.clone();
    let mut first = process.spawn(async move { Process::start(Some(&first)).await }).await.unwrap();
    assert_eq!(first.hears().await, Predecessor::Gone);
    let mut next = Process::start(Some(&name)).await;
    drop(first);
    process.shutdown_background();
    assert_eq!(next.hears().await, Predecessor::Gone);
}

#[tokio::test]
async fn one_that_went_away_is_not_yielded_to() {
    let name = name("away");
    let mut first = Process::start(Some(&name)).await;
    assert_eq!(first.hears().await, Predecessor::Gone);
    let mut stream = BufReader::new(abstract_socket::connect(&name).unwrap());
    stream.get_mut().write_all(READY.as_bytes()).await.unwrap();
    let successor = first.yields(None).await;
    assert_eq!(read(&mut stream).await.unwrap(), "null\n");
    drop(stream);
    assert!(timeout(LIMIT, successor.answers()).await.unwrap().is_none());
    assert!(first.succession.yield_to_next(None).await.is_none());
}
