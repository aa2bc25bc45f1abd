//! Which mode it will be: each candidate is tried before anything is programmed.

use super::{AnyBackend, Mode, WantedMode};
use crate::{
    Flags, NetworkNamespace,
    iptables::{self, Iptables, IptablesError, Programs, Variant},
    ipvs::{Ipvs, ProgramError},
    nftables::{self, Nft, NftError},
};

/// Why a mode cannot be had. Each is one sentence that says what to install or to load.
#[derive(Debug, thiserror::Error)]
pub enum ModeError {
    /// nftables.
    #[error(
        "mode nftables cannot be had: it needs the program nft (package nftables), CAP_NET_ADMIN and a kernel with \
         nf_tables, nft_chain_nat, nft_fib_inet and nft_numgen"
    )]
    Nftables(#[from] NftError),
    /// iptables.
    #[error(
        "mode iptables cannot be had: it needs the programs iptables-restore and ip6tables-restore (package iptables), \
         CAP_NET_ADMIN and a kernel with nft_compat (variant nft) or ip_tables and ip6_tables (variant legacy), and with \
         xt_nat, xt_MASQUERADE, xt_REJECT, xt_statistic, xt_recent, xt_conntrack, xt_addrtype, xt_mark and xt_comment"
    )]
    Iptables(#[from] IptablesError),
    /// IPVS.
    #[error("mode ipvs cannot be had")]
    Ipvs(#[from] ProgramError),
    /// No candidate.
    #[error("no mode can be had: {0}")]
    None(String),
}

/// The first candidate that can be had, with its backend, which has programmed no Service yet. Where there were several
/// candidates it is said which one it is and why.
///
/// # Errors
/// When none can be had.
pub async fn choose(wanted: WantedMode, flags: &Flags) -> Result<(Mode, AnyBackend), ModeError> {
    let mut complaints = Vec::new();
    for mode in wanted.candidates() {
        match probe(*mode, flags).await {
            Ok(backend) => {
                say(wanted, *mode, &complaints);
                return Ok((*mode, backend));
            }
            Err(error) if wanted.candidates().len() == 1 => return Err(error),
            Err(error) => complaints.push(format!("{:#}", anyhow::Error::from(error))),
        }
    }
    Err(ModeError::None(complaints.join("; ")))
}

fn say(wanted: WantedMode, mode: Mode, complaints: &[String]) {
    match (wanted, complaints) {
        (WantedMode::Auto, []) => tracing::info!("--mode auto: {mode}, which comes first and can be had"),
        (WantedMode::Auto, complaints) => {
            tracing::warn!("--mode auto: {mode}, because {}", complaints.join("; "));
        }
        _ => tracing::info!("mode {mode}"),
    }
}

/// Whether a mode can be had. A mode that is new has its line here, and in [`AnyBackend`] and [`super::RuleSet`].
async fn probe(mode: Mode, flags: &Flags) -> Result<AnyBackend, ModeError> {
    match mode {
        Mode::Nftables => {
            let (nft, config) = (Nft::default(), flags.table_config());
            nftables::probe(&nft, &config).await?;
            Ok(AnyBackend::Nftables(Box::new(nftables::Nftables::new(nft, config))))
        }
        Mode::Iptables => {
            let variant = match flags.iptables_variant {
                Some(variant) => variant,
                None => Variant::of_machine().await?,
            };
            let programs = Programs::new(variant, NetworkNamespace::Own);
            iptables::probe(&programs).await?;
            tracing::info!("iptables is iptables-{}", variant.name());
            Ok(AnyBackend::Iptables(variant, Iptables::new(programs, flags.table_config())))
        }
        Mode::Ipvs => Ok(AnyBackend::Ipvs(Ipvs::new(flags.ipvs_config()).await?)),
    }
}
