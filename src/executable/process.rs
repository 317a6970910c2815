//! What every process of this project does with the world around it: signals, panics, stdin, the
//! TLS provider, the last lines on stderr.

use std::ffi::OsString;
use std::io::{Read, Write};

use futures::future::FutureExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::concourse::Interrupted;
use crate::concourse::metadata::Variables;
use crate::failure::Failure;
use crate::log::{Log, plain};

/// Makes a panic one line that says where, never with what: a payload may hold a secret.
pub fn report_panics(name: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(std::io::stderr(), "bug: {name} {version} stopped{place}; please report this line");
    }));
}

/// Makes ring the process's TLS provider. A second call finds the first one's, which is the same.
pub fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Returns the variables that are text; Concourse sets no others.
pub fn texts(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Variables {
    vars.into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Returns what resolves on the first SIGTERM or SIGINT from now on.
///
/// # Errors
///
/// When the process may not handle signals.
pub fn interrupted() -> std::io::Result<Interrupted> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let either = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(either.boxed().shared())
}

/// Reads stdin to its end on a thread of its own, so that a signal is seen meanwhile.
///
/// # Errors
///
/// When stdin breaks.
pub async fn read_stdin() -> std::io::Result<Vec<u8>> {
    let read = || {
        let mut text = Vec::new();
        std::io::stdin().lock().read_to_end(&mut text).map(|_| text)
    };
    tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
}

/// Prints why something failed, and the remedy on its own line.
pub fn print_failure(log: &Log, failure: &Failure) {
    const RED: anstyle::Style = anstyle::AnsiColor::Red.on_default().bold();
    const CYAN: anstyle::Style = anstyle::AnsiColor::Cyan.on_default();
    log.line(format_args!("{RED}error:{RED:#} {}", plain(&failure.to_string())));
    if let Some(hint) = failure.hint() {
        log.line(format_args!("{CYAN}hint:{CYAN:#} {}", plain(&hint)));
    }
}
