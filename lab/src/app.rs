//! The sample application: a small HTTP server that answers like the Spring Boot apps it stands for,
//! and that ends, crashes or never gets ready as its switches say.
//!
//! It is process 1 of its container, where a signal without a handler is ignored: what SIGTERM does is
//! always said here. Nothing in it knows Kubernetes.

mod answer;
mod connection;
mod identity;
mod life;
mod switches;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, sleep_until};

use self::identity::Identity;
use self::life::{Life, Phase};
pub use self::switches::{OnSigterm, Switches};

/// Where an image may carry switches of its own; the environment overrides them.
pub const SWITCHES_FILE: &str = "etc/app/switches";

/// Where the runtime's layer names its version.
pub const RUNTIME_FILE: &str = "layers/runtime/version";

/// Where the stack's layer names its OpenSSL.
pub const OPENSSL_FILE: &str = "layers/stack/openssl";

/// The exit code of a process that SIGTERM ended.
const TERMINATED: u8 = 143;

/// Runs the application with these environment variables until something ends it.
pub fn run(environment: impl Iterator<Item = (String, String)>) -> ExitCode {
    let environment: BTreeMap<String, String> = environment.collect();
    let root = environment.get("APP_ROOT").map_or("/", String::as_str);
    let baked = std::fs::read_to_string(Path::new(root).join(SWITCHES_FILE)).unwrap_or_default();
    let switches = match Switches::read(&baked, &environment) {
        Ok(switches) => switches,
        Err(reason) => {
            log(&format!("error: {reason}"));
            return ExitCode::from(2);
        }
    };
    let identity = Identity::read(Path::new(root), &environment);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(serve(switches, identity)))
    {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            log(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(switches: Switches, identity: Identity) -> anyhow::Result<u8> {
    let mut sigterm = signal(SignalKind::terminate())?;
    let mut sigint = signal(SignalKind::interrupt())?;
    let mut life = Life::new(identity);
    life.fails = switches.fail_requests;
    log(&format!("{} is starting with Java {}", life.identity.name, life.identity.runtime));

    let _memory = filled(switches.allocate);

    let serving = accept(switches.clone(), life.clone());
    tokio::pin!(serving);
    let crash = crash(switches.crash_after);
    tokio::pin!(crash);
    loop {
        tokio::select! {
            ended = &mut serving => return ended,
            () = &mut crash => {
                if switches.exit_code > 0 {
                    log(CRASH);
                }
                return Ok(switches.exit_code);
            }
            _ = sigint.recv() => return Ok(130),
            _ = sigterm.recv() => {
                log(&format!("SIGTERM: {}", switches.on_sigterm));
                match switches.on_sigterm {
                    OnSigterm::Die => return Ok(TERMINATED),
                    OnSigterm::Ignore => {}
                    // A second SIGTERM changes nothing: the way out is under way.
                    OnSigterm::Drain if life.phase() < Phase::Draining => life.enter(Phase::Draining),
                    OnSigterm::Graceful if life.phase() < Phase::Stopping => life.enter(Phase::Stopping),
                    OnSigterm::Drain | OnSigterm::Graceful => {}
                }
            }
        }
    }
}

/// Starts, accepts until the listener has to close, and finishes what is open.
async fn accept(switches: Switches, life: Life) -> anyhow::Result<u8> {
    let mut phases = life.watch();
    tokio::select! {
        () = sleep(switches.start_delay) => {}
        _ = phases.wait_for(|phase| *phase >= Phase::Draining) => return Ok(0),
    }
    let listener = TcpListener::bind((switches.address, switches.port)).await?;
    log(&format!("listening on {}", listener.local_addr()?));
    if !switches.never_ready {
        life.enter(Phase::Ready);
    }

    let stopping = stop_accepting(life.clone(), switches.drain_delay);
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connection::spawn(stream, life.clone()),
                // Out of descriptors, or a peer that is gone already: neither is a reason to end.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            () = &mut stopping => break,
        }
    }
    drop(listener);
    log("the listener is closed; finishing what is open");
    let finished = tokio::time::timeout(switches.drain_timeout, life.idle()).await.is_ok();
    log(if finished { "nothing is open any more; bye" } else { "drain timeout: some requests are cut off" });
    Ok(0)
}

/// Returns when no new connection may be accepted any more.
async fn stop_accepting(life: Life, drain_delay: Duration) {
    let mut phases = life.watch();
    // The sender lives in `life`, so the wait can only end with the phase.
    let _ = phases.wait_for(|phase| *phase >= Phase::Draining).await;
    let deadline = tokio::time::Instant::now() + drain_delay;
    tokio::select! {
        () = sleep_until(deadline) => life.enter(Phase::Stopping),
        _ = phases.wait_for(|phase| *phase >= Phase::Stopping) => {}
    }
}

/// Takes so many MiB of memory and writes to every page of it.
fn filled(mebibytes: usize) -> Vec<u8> {
    let mut memory = Vec::new();
    memory.resize(mebibytes << 20, 1);
    memory
}

async fn crash(after: Option<Duration>) {
    match after {
        Some(delay) => sleep(delay).await,
        None => std::future::pending().await,
    }
}

/// What a Spring Boot application leaves in its log when its context does not come up.
const CRASH: &str = "\
ERROR 1 --- [main] o.s.boot.SpringApplication : Application run failed
java.lang.IllegalStateException: required setting `greeting.text` is missing
\tat io.pivotal.demo.cnbspringboot.GreetingConfig.check(GreetingConfig.java:41)
\tat io.pivotal.demo.cnbspringboot.Application.main(Application.java:27)";

/// Writes one entry to stderr, which is the container's log.
fn log(text: &str) {
    // A container whose log cannot be written still has to serve.
    let _ = writeln!(std::io::stderr(), "{text}");
}
