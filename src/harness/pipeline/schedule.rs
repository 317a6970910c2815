//! When resources are checked and jobs are built: once, or until somebody says stop. Checks go on
//! while builds run, as they do in Concourse.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Error;
use super::book::{Build, Status};
use super::build::Engine;
use super::config::{CheckEvery, Job};
use super::inputs::{self, Pins};
use crate::concourse::Interrupted;

mod check;

/// What to run, and for how long.
pub struct Plan {
    /// Only this job.
    pub job: Option<String>,
    /// How long.
    pub mode: Mode,
    /// How often resources are checked that do not say.
    pub interval: Duration,
}

/// How long a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One check of everything, then all that is to do.
    Once,
    /// Until the interrupt, or until so many builds have ended.
    Watch(Option<u64>),
}

/// A schedule being kept.
struct Keeper<'a> {
    engine: &'a Engine<'a>,
    plan: &'a Plan,
    pins: Pins,
    /// When each resource is checked next; one that is being checked has no time.
    due: BTreeMap<String, Instant>,
    /// Why the last check of a resource failed.
    failing: BTreeMap<String, String>,
    /// The jobs of the builds that run.
    running: Vec<String>,
    finished: u64,
    last: Option<Status>,
    is_stopping: bool,
}

impl Engine<'_> {
    /// Keeps `plan` and returns how the last build ended, if there was one.
    ///
    /// # Errors
    ///
    /// When there is nothing to run, or the one job that was asked for cannot start.
    pub async fn keep(
        &self,
        plan: &Plan,
        interrupted: &Interrupted,
        state: &Path,
    ) -> Result<Option<Status>, Error> {
        let mut keeper = Keeper::new(self, plan)?;
        let mut checks = FuturesUnordered::new();
        let mut builds: FuturesUnordered<LocalBoxFuture<'_, (String, Status)>> = FuturesUnordered::new();
        loop {
            if !keeper.is_stopping {
                for resource in keeper.take_due() {
                    checks.push(keeper.check(resource, interrupted));
                }
                let is_settled = plan.mode != Mode::Once || (checks.is_empty() && keeper.due.is_empty());
                if is_settled {
                    for build in keeper.next_builds()? {
                        builds.push(keeper.build(build, interrupted));
                    }
                }
            }
            let is_idle = plan.mode == Mode::Once && checks.is_empty() && keeper.due.is_empty();
            if builds.is_empty() && (keeper.is_stopping || is_idle) {
                break;
            }
            tokio::select! {
                biased;
                Some((job, status)) = builds.next() => keeper.built(&job, status),
                () = interrupted.clone(), if !keeper.is_stopping => keeper.is_stopping = true,
                Some(checked) = checks.next() => keeper.checked(checked),
                () = tokio::time::sleep_until(keeper.next_due()), if !keeper.is_stopping => {}
            }
            self.book.borrow().write(state)?;
        }
        keeper.result()
    }
}

impl<'a> Keeper<'a> {
    fn new(engine: &'a Engine<'a>, plan: &'a Plan) -> Result<Self, Error> {
        if let Some(name) = &plan.job
            && engine.config.job(name).is_none()
        {
            return Err(Error::CannotStart { job: name.clone(), reason: "there is no such job".to_owned() });
        }
        let pins = engine.config.resources.iter();
        let pins = pins.filter_map(|(name, resource)| Some((name.clone(), resource.pin.clone()?))).collect();
        let mut keeper = Self {
            engine,
            plan,
            pins,
            due: BTreeMap::new(),
            failing: BTreeMap::new(),
            running: Vec::new(),
            finished: 0,
            last: None,
            is_stopping: false,
        };
        keeper.due = keeper.watched().into_iter().map(|resource| (resource, Instant::now())).collect();
        Ok(keeper)
    }

    fn jobs(&self) -> impl Iterator<Item = &'a Job> + use<'a> {
        let (engine, wanted) = (self.engine, &self.plan.job);
        engine.config.jobs.iter().filter(move |job| wanted.as_ref().is_none_or(|name| *name == job.name))
    }

    /// Returns the resources that are inputs and may be checked without being asked.
    fn watched(&self) -> BTreeSet<String> {
        let inputs = self.jobs().flat_map(Job::gets).map(|get| get.resource.clone());
        inputs.filter(|resource| self.every(resource).is_some()).collect()
    }

    fn every(&self, resource: &str) -> Option<Duration> {
        match self.engine.config.resources.get(resource)?.check_every {
            CheckEvery::Default => Some(self.plan.interval),
            CheckEvery::Every(interval) => Some(interval.max(Duration::from_secs(1))),
            CheckEvery::Never => None,
        }
    }

    fn take_due(&mut self) -> Vec<String> {
        let now = Instant::now();
        let due: Vec<String> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(resource, _)| resource.clone()).collect();
        self.due.retain(|_, at| *at > now);
        due
    }

    fn next_due(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        self.due.values().min().copied().unwrap_or(far)
    }

    fn checked(&mut self, checked: check::Checked) {
        let check::Checked { resource, failure } = checked;
        let is_failing = failure.is_some();
        match failure {
            Some(reason) => self.failing.insert(resource.clone(), reason),
            None => self.failing.remove(&resource),
        };
        let mut inputs = self.jobs().flat_map(Job::gets);
        // What triggers nothing is checked once, and again only while that fails.
        let is_trigger = inputs.any(|get| get.resource == resource && get.trigger);
        if matches!(self.plan.mode, Mode::Watch(_))
            && (is_trigger || is_failing)
            && let Some(interval) = self.every(&resource)
        {
            self.due.insert(resource, Instant::now() + interval);
        }
    }

    /// Starts what is to be started now.
    fn next_builds(&mut self) -> Result<Vec<Build>, Error> {
        let mut builds = Vec::new();
        for job in self.jobs() {
            let is_forced = self.plan.mode == Mode::Once && self.plan.job.is_some();
            if (is_forced && self.finished + self.running.len() as u64 > 0) || !self.has_room(job) {
                continue;
            }
            let mut book = self.engine.book.borrow_mut();
            match inputs::resolve(job, &book, &self.pins) {
                Ok(inputs) if is_forced || inputs::is_triggered(job, &inputs, &book) => {
                    builds.push(book.start(&job.name, inputs));
                    self.running.push(job.name.clone());
                }
                Err(reason) if is_forced => {
                    return Err(Error::CannotStart {
                        job: job.name.clone(),
                        reason: self.because(job, reason),
                    });
                }
                _ => {}
            }
        }
        Ok(builds)
    }

    fn because(&self, job: &Job, reason: String) -> String {
        let failing =
            job.gets().into_iter().find_map(|get| Some((&get.resource, self.failing.get(&get.resource)?)));
        match failing {
            Some((resource, why)) => {
                format!("{reason}, because the check of `{resource}` did not succeed: {why}")
            }
            None => reason,
        }
    }

    fn has_room(&self, job: &Job) -> bool {
        let count = self.running.iter().filter(|name| **name == job.name).count();
        let shares_group = |name: &String| {
            let other = self.engine.config.job(name);
            other.is_some_and(|other| {
                other.serial_groups.iter().any(|group| job.serial_groups.contains(group))
            })
        };
        job.limit.is_none_or(|limit| count < limit) && !self.running.iter().any(shares_group)
    }

    fn build(&self, build: Build, interrupted: &Interrupted) -> LocalBoxFuture<'a, (String, Status)> {
        let (engine, interrupted) = (self.engine, interrupted.clone());
        Box::pin(async move {
            let name = build.job.clone();
            let status = match engine.config.job(&name) {
                Some(job) => engine.build(job, build, interrupted).await,
                None => Status::Errored,
            };
            (name, status)
        })
    }

    fn built(&mut self, job: &str, status: Status) {
        if let Some(at) = self.running.iter().position(|name| name == job) {
            self.running.swap_remove(at);
        }
        self.finished += 1;
        self.last = Some(status);
        if let Mode::Watch(Some(limit)) = self.plan.mode
            && self.finished >= limit
        {
            self.is_stopping = true;
        }
    }

    fn result(self) -> Result<Option<Status>, Error> {
        match (self.last, self.plan.mode) {
            (None, Mode::Once) if !self.is_stopping => match self.failing.into_iter().next() {
                Some((resource, reason)) => Err(Error::CheckFailed { resource, reason }),
                None => Err(Error::NothingToRun),
            },
            (last, _) => Ok(last),
        }
    }
}
