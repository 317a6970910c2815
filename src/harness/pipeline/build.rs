//! One build: its plan step by step, with attempts, timeouts and hooks as the ATC nests them: hooks
//! around attempts around the timeout of one attempt.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::{FutureExt, LocalBoxFuture};
use serde_json::json;

use super::book::{Book, Build, Status, Use};
use super::cache::Cache;
use super::config::{Action, Config, Hooks, Job, Parallel, Step};
use super::programs::Programs;
use super::transcript::{Event, Listener, Name};
use super::variables::Variables as Values;
use crate::concourse::Interrupted;
use crate::concourse::metadata::Variables;
use crate::executable::process;

mod steps;

/// All that builds and checks of one pipeline share.
pub struct Engine<'a> {
    /// The pipeline.
    pub config: Config,
    /// Its resource types.
    pub programs: Programs,
    /// Its versions and builds.
    pub book: RefCell<Book>,
    /// What was fetched.
    pub cache: Cache,
    /// Where builds put their directories.
    pub work: PathBuf,
    /// Gets what happens.
    pub listener: Listener<'a>,
    /// The worker's environment.
    pub host: Variables,
    /// The pipeline's name.
    pub name: String,
    /// Where Concourse would be.
    pub external_url: String,
}

/// One build that runs.
pub(super) struct Run<'a> {
    engine: &'a Engine<'a>,
    build: Build,
    name: Name,
    folder: PathBuf,
    artifacts: RefCell<BTreeMap<String, PathBuf>>,
    locals: RefCell<Values>,
    steps: Cell<u32>,
}

/// What a step inherits from what is around it.
#[derive(Clone)]
pub(super) struct Scope {
    interrupted: Interrupted,
    /// In a hook: what it follows.
    status: Option<Status>,
}

impl Engine<'_> {
    /// Runs `build` of `job` to its end.
    pub async fn build(&self, job: &Job, build: Build, interrupted: Interrupted) -> Status {
        let started = Instant::now();
        let name = Name { job: job.name.clone(), build: build.number };
        (self.listener)(&Event::BuildStarted { build: name.clone(), inputs: build.inputs.clone() });
        let folder = self.work.join(format!("build-{}", build.id));
        let id = build.id;
        let run = Run {
            engine: self,
            build,
            name: name.clone(),
            folder: folder.clone(),
            artifacts: RefCell::default(),
            locals: RefCell::default(),
            steps: Cell::new(0),
        };
        let scope = Scope { interrupted, status: None };
        let status = run.sequence(&job.plan, &scope).await;
        let status = run.hooked(&job.hooks, status, &scope).await;
        let _ = std::fs::remove_dir_all(folder);
        if let Some(build) = self.book.borrow_mut().build_mut(id) {
            build.status = Some(status);
        }
        let seconds = started.elapsed().as_secs_f64();
        (self.listener)(&Event::BuildFinished { build: name, outcome: status, seconds });
        status
    }
}

impl Scope {
    fn is_interrupted(&self) -> bool {
        self.interrupted.clone().now_or_never().is_some()
    }

    /// Also ends when `other` does.
    fn with(&self, other: impl Future<Output = ()> + Send + 'static) -> Self {
        let parent = self.interrupted.clone();
        let either = async move {
            tokio::select! {
                () = parent => {}
                () = other => {}
            }
        };
        Self { interrupted: either.boxed().shared(), status: self.status }
    }

    /// A hook after an abort runs to its end; only a second signal stops it.
    fn of_hook(&self, status: Status) -> Self {
        let mut scope = Self { interrupted: self.interrupted.clone(), status: Some(status) };
        if self.is_interrupted()
            && let Ok(again) = process::interrupted()
        {
            scope.interrupted = again;
        }
        scope
    }
}

impl Run<'_> {
    async fn sequence(&self, steps: &[Step], scope: &Scope) -> Status {
        for step in steps {
            let status = self.step(step, scope.clone()).await;
            if status != Status::Succeeded {
                return status;
            }
        }
        Status::Succeeded
    }

    fn step<'b>(&'b self, step: &'b Step, scope: Scope) -> LocalBoxFuture<'b, Status> {
        let run = async move {
            let mut status = Status::Succeeded;
            for _ in 0..step.attempts {
                status = self.attempt(step, &scope).await;
                if matches!(status, Status::Succeeded | Status::Aborted) {
                    break;
                }
            }
            self.hooked(&step.hooks, status, &scope).await
        };
        run.boxed_local()
    }

    async fn attempt(&self, step: &Step, scope: &Scope) -> Status {
        let Some(timeout) = step.timeout else { return self.action(&step.action, scope).await };
        let expired = async move { tokio::time::sleep(timeout).await };
        match self.action(&step.action, &scope.with(expired)).await {
            Status::Aborted if !scope.is_interrupted() => {
                self.say("timeout", "timeout exceeded");
                Status::Failed
            }
            status => status,
        }
    }

    async fn action(&self, action: &Action, scope: &Scope) -> Status {
        if scope.is_interrupted() {
            return Status::Aborted;
        }
        match action {
            Action::Get(get) => self.get(get, scope).await,
            Action::Put(put) => self.put(put, scope).await,
            Action::Do(steps) => self.sequence(steps, scope).await,
            Action::InParallel(parallel) => self.parallel(parallel, scope).await,
            Action::Try(step) => match self.step(step, scope.clone()).await {
                Status::Aborted => Status::Aborted,
                _ => Status::Succeeded,
            },
        }
    }

    async fn parallel(&self, parallel: &Parallel, scope: &Scope) -> Status {
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let inner = scope.with(async move {
            if stopped.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let limit = parallel.limit.min(parallel.steps.len()).max(1);
        let steps = parallel.steps.iter().map(|step| self.step(step, inner.clone()));
        let mut running = futures::stream::iter(steps).buffer_unordered(limit);
        let mut worst = Status::Succeeded;
        while let Some(status) = running.next().await {
            // What fail_fast ended did not fail itself.
            let is_stopped = status == Status::Aborted && !scope.is_interrupted();
            if !is_stopped {
                worst = worst.max(status);
            }
            if parallel.fail_fast && status != Status::Succeeded {
                let _ = stop.send(true);
            }
        }
        worst
    }

    async fn hooked(&self, hooks: &Hooks, status: Status, scope: &Scope) -> Status {
        let hook = match status {
            Status::Succeeded => &hooks.success,
            Status::Failed => &hooks.failure,
            Status::Errored => &hooks.error,
            Status::Aborted => &hooks.abort,
        };
        let mut end = status;
        for step in [hook, &hooks.ensure].into_iter().flatten() {
            let hooked = self.step(step, scope.of_hook(end)).await;
            // A hook can spoil a success; it cannot mend anything.
            if end == Status::Succeeded {
                end = hooked;
            }
        }
        end
    }

    fn say(&self, step: &str, text: &str) {
        let build = self.name.clone();
        let (step, text) = (step.to_owned(), text.to_owned());
        (self.engine.listener)(&Event::Line { build, step, text });
    }

    /// Returns a new directory's path in the build's own.
    fn place(&self, name: &str) -> PathBuf {
        self.steps.set(self.steps.get() + 1);
        self.folder.join(format!("{}-{name}", self.steps.get()))
    }

    fn input(&self, name: &str) -> Option<Use> {
        self.build.inputs.iter().find(|input| input.name == name).cloned()
    }

    /// `in`'s metadata becomes `((.:name.field))`.
    fn set_locals(&self, name: &str, metadata: &[crate::concourse::Field]) {
        let fields = metadata.iter().map(|field| (field.name.clone(), json!(field.value))).collect();
        let fields = serde_json::Value::Object(fields);
        self.locals.borrow_mut().add(json!({ name: fields }));
    }
}

/// How long something took.
fn seconds(since: Instant) -> f64 {
    Duration::as_secs_f64(&since.elapsed())
}
