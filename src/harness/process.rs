//! One process as a worker runs it: JSON in, stdout kept, stderr shown line by line, SIGTERM to the
//! process alone, SIGKILL 10 seconds later, and to what is left of its group when it has ended.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use std::os::unix::process::ExitStatusExt;

use futures::future::{FusedFuture, FutureExt};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::Error;
use super::verdict::Ended;
use crate::concourse::Interrupted;

/// Concourse's patience after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// How long a finished process's pipes may stay open: a child it left behind can hold them for ever.
const DRAIN: Duration = Duration::from_secs(1);

/// How long an executable may be busy: 20 × 50 ms.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// More than any real answer; what follows is read and dropped.
const STDOUT_LIMIT: usize = 64 << 20;

/// A line without end is shown in pieces of this size.
const LINE_LIMIT: usize = 64 << 10;

/// What ends a process early.
#[derive(Clone)]
pub struct Limits {
    /// The abort of the build.
    pub interrupted: Interrupted,
    /// The step's `timeout`.
    pub timeout: Option<Duration>,
}

/// A process that has ended.
pub struct Ran {
    /// How.
    pub ended: Ended,
    /// All that it wrote to stdout.
    pub stdout: Vec<u8>,
}

/// Runs `command` to its end, however that comes about. `kill` is called when SIGTERM was not
/// enough, before the process itself is killed.
///
/// # Errors
///
/// When the process does not start or cannot be waited for.
pub async fn run(
    mut command: Command,
    request: &str,
    limits: &Limits,
    lines: &dyn Fn(&str),
    kill: &dyn Fn(),
) -> Result<Ran, Error> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A terminal sends Ctrl-C to the whole group; a worker never signals anything but the process.
    command.process_group(0).kill_on_drop(true);
    let mut child = spawn(&mut command).await?;
    let mut group = Group(id_of(&child));

    let kept = RefCell::new(Vec::new());
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = {
        let feed = async move {
            if let Some(mut stdin) = pipes.0 {
                // A process may end, or close its stdin, without reading; its exit code tells.
                let _ = stdin.write_all(request.as_bytes()).await;
            }
        };
        let keep = async { keep(pipes.1, &kept).await };
        let show = async { show(pipes.2, lines).await };
        let mut pipes = pin!(async { tokio::join!(feed, keep, show) }.fuse());
        let mut end = pin!(end(&mut child, limits, kill));
        let ended = loop {
            tokio::select! {
                ended = &mut end => break ended?,
                _ = &mut pipes => {}
            }
        };
        group.leader_is_gone();
        if !pipes.is_terminated() {
            let _ = tokio::time::timeout(DRAIN, pipes).await;
        }
        ended
    };
    Ok(Ran { ended, stdout: kept.into_inner() })
}

/// The processes that were started together; what is left of them ends with this, as it would with
/// its container.
struct Group(Option<Pid>);

impl Group {
    /// Forgets a group that has no more processes: its id may then be given to others. The id of one
    /// that has some is taken, and the signal comes after [`DRAIN`] at the latest.
    fn leader_is_gone(&mut self) {
        self.0 = self.0.filter(|id| test_kill_process_group(*id).is_ok());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

fn id_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
}

/// An executable that is being written, by a build beside a watch, is busy for a moment.
async fn spawn(command: &mut Command) -> Result<Child, Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(source) => {
                let path = Path::new(command.as_std().get_program()).to_owned();
                return Err(Error::Start { path, source });
            }
        }
    }
}

async fn end(child: &mut Child, limits: &Limits, kill: &dyn Fn()) -> Result<Ended, Error> {
    let timeout = async {
        match limits.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        status = child.wait() => return status.map(of_status).map_err(Error::Wait),
        () = limits.interrupted.clone() => Ended::Interrupted,
        () = timeout => Ended::TimedOut,
    };
    if let Some(id) = id_of(child) {
        let _ = kill_process(id, Signal::TERM);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        kill();
        child.kill().await.map_err(Error::Wait)?;
    }
    Ok(ended)
}

fn of_status(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    }
}

async fn keep(pipe: Option<impl AsyncRead + Unpin>, kept: &RefCell<Vec<u8>>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; 16 << 10];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        let mut kept = kept.borrow_mut();
        let room = STDOUT_LIMIT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&chunk[..room]);
    }
}

async fn show(pipe: Option<impl AsyncRead + Unpin>, lines: &dyn Fn(&str)) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; 16 << 10];
    let mut line = Vec::new();
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        for byte in &chunk[..count] {
            match byte {
                b'\n' => emit(&mut line, lines),
                byte => line.push(*byte),
            }
            if line.len() >= LINE_LIMIT {
                emit(&mut line, lines);
            }
        }
    }
    if !line.is_empty() {
        emit(&mut line, lines);
    }
}

fn emit(line: &mut Vec<u8>, lines: &dyn Fn(&str)) {
    lines(String::from_utf8_lossy(line).trim_end_matches('\r'));
    line.clear();
}
