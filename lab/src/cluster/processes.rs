//! Finds and ends the processes of one lab that the host can see: the supervisor, its `unshare`, the forwarder,
//! and what `lab exec` started. All others live in the supervisor's process namespace and die with it.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::place::Place;

/// The environment variable by which a process that `lab exec` started is known.
pub(crate) const VARIABLE: &str = "ROLLWAY_LAB";

/// Returns the process id of the lab's supervisor, if it runs.
pub(crate) fn supervisor(place: &Place) -> Option<u32> {
    let marker = place.marker();
    pids().find(|pid| {
        let arguments = arguments(*pid);
        // `unshare` has the same arguments behind its own; the supervisor is the one that begins with them.
        arguments.get(1).is_some_and(|first| first == "supervise") && arguments.contains(&marker)
    })
}

/// Returns the process of the lab's part whose program is `program`, as the host numbers it.
pub(crate) fn part(supervisor: u32, program: &str) -> Option<u32> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let home = namespace(supervisor)?;
    pids().find(|pid| {
        let is_program =
            arguments(*pid).first().is_some_and(|first| first.rsplit('/').next() == Some(program));
        is_program && namespace(*pid).as_ref() == Some(&home)
    })
}

/// Whether any process of the lab runs.
pub(crate) fn any(place: &Place) -> bool {
    !marked(place).is_empty()
}

/// Ends every process of the lab and waits until they are gone.
pub(crate) fn end(place: &Place) -> anyhow::Result<()> {
    signal_all(guests(place), Signal::TERM, Duration::from_secs(2))?;
    signal_all(guests(place), Signal::KILL, Duration::from_secs(10))?;
    let left = signal_all(marked(place), Signal::KILL, Duration::from_secs(20))?;
    anyhow::ensure!(left == 0, "{left} of the lab's processes do not end");
    Ok(())
}

/// Sends `signal` to all, and returns how many are left when they have gone or `patience` is over.
fn signal_all(pids: Vec<u32>, signal: Signal, patience: Duration) -> anyhow::Result<usize> {
    let mut open = Vec::new();
    for pid in pids {
        let pid = Pid::from_raw(pid.cast_signed()).context("a process id is not zero")?;
        if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) {
            let _ = pidfd_send_signal(&handle, signal);
            open.push(handle);
        }
    }
    let deadline = Instant::now() + patience;
    // A process counts as gone when it has ended, whether or not its parent has asked how.
    while !open.is_empty() && Instant::now() < deadline {
        open.retain(|handle| !has_ended(handle));
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(open.len())
}

fn has_ended(process: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

/// The processes that carry the lab's key as an argument.
fn marked(place: &Place) -> Vec<u32> {
    let marker = place.marker();
    let own = std::process::id();
    pids().filter(|pid| *pid != own && arguments(*pid).contains(&marker)).collect()
}

/// What `lab exec` started, except for this process and those above it.
fn guests(place: &Place) -> Vec<u32> {
    let entry = format!("{VARIABLE}={}", place.key());
    let mut spared = vec![std::process::id()];
    while let Some(parent) = spared.last().and_then(|pid| parent(*pid)).filter(|parent| *parent > 1) {
        spared.push(parent);
    }
    pids()
        .filter(|pid| !spared.contains(pid))
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
        })
        .collect()
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The network namespace of the process `pid`.
pub(crate) fn network_namespace(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}
