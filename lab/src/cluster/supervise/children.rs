//! The supervisor's children: starts them with their logs, reaps them and every orphan, and keeps `parts.json`.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, WaitOptions, WaitStatus, setpriority_process, wait};

use crate::cluster::record::{Record, State, restart};

/// The niceness of the cluster's own parts. A real node keeps processor time for them too: a data plane
/// that is starved by the pods says nothing about a rollout. What containerd starts stays as it is.
const NODE_FIRST: i32 = -15;

/// The children and the record of them.
pub(super) struct Children {
    directory: PathBuf,
    table: Mutex<Table>,
    changed: Condvar,
}

#[derive(Default)]
struct Table {
    running: HashMap<u32, String>,
    commands: HashMap<String, Command>,
    record: Record,
    ended: BTreeMap<String, String>,
}

impl Children {
    /// Keeps the record and the logs in `directory`.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, table: Mutex::default(), changed: Condvar::new() }
    }

    /// Starts the part `name`.
    pub(super) fn start(&self, name: &str, mut command: Command) -> anyhow::Result<()> {
        // The lock is held across the start, so that the reaper cannot look for a child that is not listed yet.
        let mut table = self.table();
        self.spawn(&mut table, name, &mut command)?;
        table.commands.insert(name.to_owned(), command);
        table.record.parts.insert(name.to_owned(), State::Starting);
        self.save(&table.record)
    }

    /// Returns the parts that were started and have not shown that they are there.
    pub(super) fn starting(&self) -> Vec<String> {
        let table = self.table();
        let starting = table.record.parts.iter().filter(|(_, state)| **state == State::Starting);
        starting.map(|(name, _)| name.clone()).collect()
    }

    /// Runs `command` to its end, and fails when it does.
    pub(super) fn run(&self, name: &str, command: &mut Command) -> anyhow::Result<()> {
        let mut table = self.table();
        table.ended.remove(name);
        self.spawn(&mut table, name, command)?;
        loop {
            if let Some(how) = table.ended.remove(name) {
                anyhow::ensure!(how == SUCCESS, "`{name}` ended with {how}");
                return Ok(());
            }
            table = self.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Records that the part `name` is ready.
    pub(super) fn ready(&self, name: &str) -> anyhow::Result<()> {
        let mut table = self.table();
        if !table.ended.contains_key(name) {
            table.record.parts.insert(name.to_owned(), State::Ready);
        }
        self.save(&table.record)
    }

    /// Whether the part `name` has ended.
    pub(super) fn has_ended(&self, name: &str) -> bool {
        self.table().ended.contains_key(name)
    }

    /// Records why the lab cannot start.
    pub(super) fn fail(&self, why: &str) {
        let mut table = self.table();
        table.record.failure = Some(why.to_owned());
        // Nobody is left to tell when the record cannot be written; `lab up` then runs into its deadline.
        let _ = self.save(&table.record);
    }

    /// Reaps for ever.
    pub(super) fn reap(&self) -> anyhow::Result<()> {
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => self.note(pid.as_raw_nonzero().get().cast_unsigned(), status)?,
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CHILD) => std::thread::sleep(Duration::from_millis(50)),
                Err(error) => return Err(error).context("failed to wait for the parts"),
            }
        }
    }

    fn note(&self, pid: u32, status: WaitStatus) -> anyhow::Result<()> {
        let mut table = self.table();
        let Some(name) = table.running.remove(&pid) else { return Ok(()) };
        if let Ok(environment) = fs::read_to_string(restart(&self.directory, &name))
            && let Some(mut command) =
                table.commands.get(&name).map(|command| for_once(command, &environment))
        {
            self.spawn(&mut table, &name, &mut command)?;
            table.record.parts.insert(name.clone(), State::Starting);
            self.save(&table.record)?;
            // Gone last: whoever asked for it sees `starting` from here on.
            return fs::remove_file(restart(&self.directory, &name)).context("failed to note a restart");
        }
        let how = describe(status);
        if let Some(state) = table.record.parts.get_mut(&name) {
            *state = State::Ended(how.clone());
            self.save(&table.record)?;
        }
        table.ended.insert(name, how);
        self.changed.notify_all();
        Ok(())
    }

    fn spawn(&self, table: &mut Table, name: &str, command: &mut Command) -> anyhow::Result<()> {
        let path = self.directory.join("logs").join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("failed to open the log `{}`", path.display()))?;
        let errors = log.try_clone().context("failed to share a log")?;
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let child = child.with_context(|| format!("failed to start `{name}`"))?;
        if !name.starts_with("containerd")
            && let Some(pid) = Pid::from_raw(child.id().cast_signed())
        {
            // Where it is not allowed the lab works all the same, as long as the machine is not busy.
            let _ = setpriority_process(Some(pid), NODE_FIRST);
        }
        table.running.insert(child.id(), name.to_owned());
        Ok(())
    }

    fn save(&self, record: &Record) -> anyhow::Result<()> {
        let path = self.directory.join("parts.json");
        let next = self.directory.join("parts.json.next");
        let text = serde_json::to_vec(record).context("failed to render the record of the parts")?;
        fs::write(&next, text)
            .and_then(|()| fs::rename(&next, &path))
            .with_context(|| format!("failed to write `{}`", path.display()))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the command of a part with more in its environment, as `NAME=VALUE` lines; the part's own stays as it is.
fn for_once(command: &Command, environment: &str) -> Command {
    let own = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut once = Command::new(command.get_program());
    once.args(command.get_args()).env_clear().envs(own);
    once.envs(environment.lines().filter_map(|line| line.split_once('=')));
    if let Some(directory) = command.get_current_dir() {
        once.current_dir(directory);
    }
    once
}

const SUCCESS: &str = "exit status 0";

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}
