//! A pipeline, checked: every key is known, every name leads somewhere, and what this harness cannot
//! run is named before anything starts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Error;
use crate::concourse::AnyVersion;

mod keys;
mod steps;
mod whole;

/// A pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// By name, with what the type's `defaults` add.
    pub resources: BTreeMap<String, Resource>,
    /// In the file's order.
    pub jobs: Vec<Job>,
}

/// A resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Its type.
    pub kind: String,
    /// Its source.
    pub source: Map<String, Value>,
    /// The version that it is pinned to.
    pub pin: Option<AnyVersion>,
    /// How often it is checked.
    pub check_every: CheckEvery,
    /// How long one check may take.
    pub check_timeout: Duration,
}

/// How often a resource is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckEvery {
    /// As often as all that say nothing.
    Default,
    /// This often.
    Every(Duration),
    /// Only when somebody asks.
    Never,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Its steps, in order.
    pub plan: Vec<Step>,
    /// What follows its end.
    pub hooks: Hooks,
    /// How many builds of it may run at once.
    pub limit: Option<usize>,
    /// Groups of which one build runs at once.
    pub serial_groups: Vec<String>,
}

/// One step with what is wrapped around it, hooks outermost.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does.
    pub action: Action,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How often it is tried.
    pub attempts: u32,
    /// What follows its end.
    pub hooks: Hooks,
}

/// What follows a step or a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hooks {
    /// After success.
    pub success: Option<Box<Step>>,
    /// After a failure.
    pub failure: Option<Box<Step>>,
    /// After an error.
    pub error: Option<Box<Step>>,
    /// After an abort.
    pub abort: Option<Box<Step>>,
    /// After any end.
    pub ensure: Option<Box<Step>>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `get`
    Get(Get),
    /// `put`
    Put(Put),
    /// `in_parallel`
    InParallel(Parallel),
    /// `do`
    Do(Vec<Step>),
    /// `try`
    Try(Box<Step>),
}

/// `in_parallel`.
#[derive(Clone, Debug, PartialEq)]
pub struct Parallel {
    /// The steps.
    pub steps: Vec<Step>,
    /// How many run at once.
    pub limit: usize,
    /// Whether the first failure ends the others.
    pub fail_fast: bool,
}

/// `get`.
#[derive(Clone, Debug, PartialEq)]
pub struct Get {
    /// The artifact's name.
    pub name: String,
    /// The resource.
    pub resource: String,
    /// Its params.
    pub params: Map<String, Value>,
    /// Which versions.
    pub wanted: Wanted,
    /// The jobs that a version must have passed.
    pub passed: Vec<String>,
    /// Whether a new version starts the job.
    pub trigger: bool,
}

/// Which versions a get takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The newest.
    Latest,
    /// Each, in order.
    Every,
    /// This one.
    Pinned(AnyVersion),
}

/// `put`.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// The artifact's name, of the get that follows.
    pub name: String,
    /// The resource.
    pub resource: String,
    /// Its params.
    pub params: Map<String, Value>,
    /// The params of the get that follows.
    pub get_params: Map<String, Value>,
    /// Whether a get follows.
    pub follow: Follow,
    /// Which artifacts it sees.
    pub inputs: Inputs,
}

/// Whether a get follows a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The version is fetched.
    Get,
    /// `no_get: true`.
    Nothing,
}

/// Which artifacts a put sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Those that its params name.
    Detect,
    /// All.
    All,
    /// These.
    Named(Vec<String>),
}

impl Config {
    /// Reads a pipeline whose variables are filled in.
    ///
    /// # Errors
    ///
    /// When it is not one, or has steps that cannot be run here.
    pub fn parse(value: &Value) -> Result<Self, Error> {
        whole::pipeline(value)
    }

    /// Returns the job with this name.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.name == name)
    }
}

impl Job {
    /// Returns all gets, those in hooks too: each is an input.
    #[must_use]
    pub fn gets(&self) -> Vec<&Get> {
        let mut gets = Vec::new();
        for action in self.actions() {
            if let Action::Get(get) = action {
                gets.push(get);
            }
        }
        gets
    }

    /// Returns all puts, those in hooks too.
    #[must_use]
    pub fn puts(&self) -> Vec<&Put> {
        let mut puts = Vec::new();
        for action in self.actions() {
            if let Action::Put(put) = action {
                puts.push(put);
            }
        }
        puts
    }

    fn actions(&self) -> Vec<&Action> {
        let mut actions = Vec::new();
        self.plan.iter().for_each(|step| step.collect(&mut actions));
        self.hooks.collect(&mut actions);
        actions
    }
}

impl Step {
    fn collect<'a>(&'a self, actions: &mut Vec<&'a Action>) {
        match &self.action {
            Action::Get(_) | Action::Put(_) => actions.push(&self.action),
            Action::InParallel(Parallel { steps, .. }) | Action::Do(steps) => {
                for step in steps {
                    step.collect(actions);
                }
            }
            Action::Try(step) => step.collect(actions),
        }
        self.hooks.collect(actions);
    }
}

impl Hooks {
    fn collect<'a>(&'a self, actions: &mut Vec<&'a Action>) {
        let hooks = [&self.success, &self.failure, &self.error, &self.abort, &self.ensure];
        hooks.into_iter().flatten().for_each(|step| step.collect(actions));
    }
}

#[cfg(test)]
mod tests;
