//! What is looked at while it runs: a process with its memory and the lines that it says, and builds with the moments
//! at which they come and get their verdict.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::StreamExt as _;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::cost::most_resident;
use crate::kpack_yard::condition;
use crate::world::PATIENCE;

/// What the long lines of a build's log begin with.
const RULE: &[u8] = b"-----";
/// How much of what is said is kept, for the story of a failure.
const KEPT: usize = 16 << 10;

/// A process that runs.
pub(crate) struct Process {
    child: Child,
    memory: JoinHandle<u64>,
    stdout: JoinHandle<(String, usize)>,
    stderr: JoinHandle<(String, usize)>,
}

/// A process that has ended.
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// What it said on stdout, without the long lines.
    pub(crate) answer: String,
    /// The same and what it said on stderr.
    pub(crate) text: String,
    /// How many long lines it said.
    pub(crate) rules: usize,
    /// The most KiB that it had resident.
    pub(crate) memory: u64,
}

impl Process {
    pub(crate) fn start(program: &str, words: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let memory = tokio::spawn(most_resident(child.id().unwrap()));
        let stdout = tokio::spawn(read(child.stdout.take().unwrap()));
        let stderr = tokio::spawn(read(child.stderr.take().unwrap()));
        Self { child, memory, stdout, stderr }
    }

    /// Starts a step of a resource type, with its request.
    pub(crate) async fn step(program: &str, step: &str, request: &Value) -> Self {
        let mut process = Self::start(program, &[step, "/"]);
        let mut stdin = process.child.stdin.take().unwrap();
        stdin.write_all(request.to_string().as_bytes()).await.unwrap();
        process
    }

    pub(crate) async fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let status = self.child.wait().await.unwrap();
        let (answer, some) = self.stdout.await.unwrap();
        let (said, others) = self.stderr.await.unwrap();
        let text = format!("{answer}{said}");
        Ended {
            success: status.success(),
            answer,
            text,
            rules: some + others,
            memory: self.memory.await.unwrap(),
        }
    }
}

/// Reads to the end; counts the long lines and keeps the others.
async fn read(from: impl AsyncRead + Unpin) -> (String, usize) {
    let mut from = BufReader::with_capacity(256 << 10, from);
    let (mut kept, mut rules, mut line) = (String::new(), 0, Vec::new());
    while from.read_until(b'\n', &mut line).await.unwrap() > 0 {
        if line.starts_with(RULE) {
            rules += 1;
        } else if kept.len() < KEPT {
            kept.push_str(&String::from_utf8_lossy(&line));
        }
        line.clear();
    }
    (kept, rules)
}

/// When builds came, and when they got their verdict.
pub(crate) struct Clock {
    seen: Arc<Mutex<BTreeMap<String, Moments>>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy)]
struct Moments {
    created: Instant,
    verdict: Option<Instant>,
}

impl Clock {
    /// Watches the builds of an Image from now on.
    pub(crate) fn start(builds: Api<DynamicObject>, image: &str) -> Self {
        let seen: Arc<Mutex<BTreeMap<String, Moments>>> = Arc::default();
        let config = watcher::Config::default().labels(&format!("image.kpack.io/image={image}"));
        let written = seen.clone();
        let task = tokio::spawn(async move {
            let mut events = watcher(builds, config).boxed();
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(build) | Event::InitApply(build)) = event else { continue };
                let now = Instant::now();
                let mut seen = written.lock().unwrap_or_else(PoisonError::into_inner);
                let name = build.metadata.name.clone().unwrap_or_default();
                let moments = seen.entry(name).or_insert(Moments { created: now, verdict: None });
                if matches!(condition(&build.data, "Succeeded"), "True" | "False") {
                    moments.verdict.get_or_insert(now);
                }
            }
        });
        Self { seen, task }
    }

    /// Returns how many seconds the build took, once that is known.
    pub(crate) async fn seconds_of(&self, build: &str) -> f64 {
        let started = Instant::now();
        loop {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(build).copied();
            if let Some(Moments { created, verdict: Some(verdict) }) = seen {
                return (verdict - created).as_secs_f64();
            }
            assert!(started.elapsed() < PATIENCE, "`{build}` has no verdict");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.task.abort();
    }
}
