//! The two steps that run something: get, from the cache where it can, and put, with the get that
//! follows it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value};

use super::super::book::{Status, Use};
use super::super::cache::Answer;
use super::super::config::{Follow, Get, Inputs, Put};
use super::super::transcript::{End, Event};
use super::super::variables::Kind;
use super::{Run, Scope, seconds};
use crate::concourse::{AnyVersion, Field, Step};
use crate::failure::Failure;
use crate::harness::environment::{self, Facts};
use crate::harness::payload::Payload;
use crate::harness::process::Limits;
use crate::harness::program::Call;
use crate::harness::verdict::{self, Verdict, judge};
use crate::harness::{self, on, tree};

/// What a get is asked for, also by the put before it.
struct Wanted<'a> {
    name: &'a str,
    resource: &'a str,
    params: &'a Map<String, Value>,
    version: AnyVersion,
}

impl Run<'_> {
    pub(super) async fn get(&self, get: &Get, scope: &Scope) -> Status {
        let Some(input) = self.input(&get.name) else {
            return self.report(
                &format!("get {}", get.name),
                Instant::now(),
                End::errored("it has no version"),
            );
        };
        let (name, resource, params) = (&get.name, &get.resource, &get.params);
        self.fetch(Wanted { name, resource, params, version: input.version }, scope).await
    }

    pub(super) async fn put(&self, put: &Put, scope: &Scope) -> Status {
        let started = Instant::now();
        let step = format!("put {}", put.name);
        self.begin(&step);
        let folder = self.place(&put.name);
        let end = match self.make(put, &step, &folder, scope).await {
            Ok(verdict) => End::of(verdict),
            Err(failure) => End::errored(&failure.to_string()),
        };
        let _ = std::fs::remove_dir_all(&folder);
        let version = end.version.clone();
        if let Some(version) = &version {
            self.record(put, version);
        }
        let status = self.report(&step, started, end);
        match (version, put.follow) {
            (Some(version), Follow::Get) => {
                let (name, resource, params) = (&put.name, &put.resource, &put.get_params);
                self.fetch(Wanted { name, resource, params, version }, scope).await
            }
            _ => status,
        }
    }

    async fn make(&self, put: &Put, step: &str, folder: &Path, scope: &Scope) -> Result<Verdict, Failure> {
        let params = self.filled(&put.params)?;
        std::fs::create_dir_all(folder).map_err(on("create", folder))?;
        for name in self.inputs_of(put, &params) {
            let artifact = self.artifacts.borrow().get(&name).cloned();
            match artifact {
                Some(artifact) => tree::copy(&artifact, &folder.join(&name), tree::Owner::Copier)?,
                None => {
                    return Ok(Verdict::Errored(format!(
                        "input `{name}` is missing: no step before has made it"
                    )));
                }
            }
        }
        let payload = self.payload(&put.resource, params, None);
        self.run(Step::Put, &put.resource, (&payload, folder, step), scope).await
    }

    fn inputs_of(&self, put: &Put, params: &Map<String, Value>) -> BTreeSet<String> {
        let artifacts = self.artifacts.borrow();
        match &put.inputs {
            Inputs::All => artifacts.keys().cloned().collect(),
            Inputs::Named(names) => names.iter().cloned().collect(),
            Inputs::Detect => {
                let mut found = BTreeSet::new();
                first_segments(params.values(), &mut found);
                found.retain(|name| artifacts.contains_key(name));
                found
            }
        }
    }

    fn record(&self, put: &Put, version: &AnyVersion) {
        let mut book = self.engine.book.borrow_mut();
        book.histories.entry(put.resource.clone()).or_default().save_made(version);
        let (name, resource, version) = (put.name.clone(), put.resource.clone(), version.clone());
        if let Some(build) = book.build_mut(self.build.id) {
            build.outputs.push(Use { name, resource, version });
        }
    }

    async fn fetch(&self, wanted: Wanted<'_>, scope: &Scope) -> Status {
        let started = Instant::now();
        let step = format!("get {}", wanted.name);
        self.begin(&step);
        let end = match self.fetched(&wanted, &step, scope).await {
            Ok(end) => end,
            Err(failure) => End::errored(&failure.to_string()),
        };
        if end.outcome == Status::Succeeded {
            self.set_locals(wanted.name, &end.metadata);
        }
        self.report(&step, started, end)
    }

    async fn fetched(&self, wanted: &Wanted<'_>, step: &str, scope: &Scope) -> Result<End, Failure> {
        let payload =
            self.payload(wanted.resource, self.filled(wanted.params)?, Some(wanted.version.clone()));
        let kind = self.engine.config.resources.get(wanted.resource).map_or("", |resource| &resource.kind);
        let entry = self.engine.cache.entry(kind, &payload);
        let offer = || self.artifacts.borrow_mut().insert(wanted.name.to_owned(), entry.files());
        if let Some(answer) = entry.answer() {
            offer();
            return Ok(End::succeeded(answer.version, answer.metadata, true));
        }
        let folder = self.place(wanted.name);
        std::fs::create_dir_all(&folder).map_err(on("create", &folder))?;
        let verdict = self.run(Step::Get, wanted.resource, (&payload, &folder, step), scope).await?;
        if let Verdict::Succeeded(verdict::Answer::Version(version, metadata)) = &verdict {
            entry.keep(&folder, &Answer { version: version.clone(), metadata: metadata.clone() })?;
            offer();
        }
        Ok(End::of(verdict))
    }

    fn payload(&self, resource: &str, params: Map<String, Value>, version: Option<AnyVersion>) -> Payload {
        let source = self.engine.config.resources.get(resource).map(|resource| resource.source.clone());
        Payload { source: source.unwrap_or_default(), params, version }
    }

    fn filled(&self, params: &Map<String, Value>) -> Result<Map<String, Value>, Failure> {
        let filled = self.locals.borrow().fill(&Value::Object(params.clone()), Kind::Local)?;
        Ok(filled.as_object().cloned().unwrap_or_default())
    }

    async fn run(
        &self,
        step: Step,
        resource: &str,
        (payload, directory, name): (&Payload, &Path, &str),
        scope: &Scope,
    ) -> Result<Verdict, Failure> {
        let engine = self.engine;
        let kind = engine.config.resources.get(resource).map_or("", |resource| &resource.kind);
        let program = engine.programs.get(kind);
        let program = program.ok_or_else(|| harness::Error::NoProgram { path: PathBuf::from(kind) })?;
        let facts = Facts {
            id: self.build.id,
            name: self.build.number.to_string(),
            pipeline: engine.name.clone(),
            job: self.build.job.clone(),
            external_url: engine.external_url.clone(),
            ..Facts::default()
        };
        let mut variables = environment::of_step(step, &facts, &engine.host);
        if let Some(status) = scope.status {
            variables.insert("BUILD_STATUS".to_owned(), status.name().to_owned());
        }
        let limits = Limits { interrupted: scope.interrupted.clone(), timeout: None };
        let lines = |line: &str| self.say(name, line);
        let ran = program.run(&Call { step, payload, directory, variables, limits, lines: &lines }).await?;
        Ok(judge(step, ran.ended, &ran.stdout))
    }

    fn begin(&self, step: &str) {
        let event = Event::StepStarted { build: self.name.clone(), step: step.to_owned() };
        (self.engine.listener)(&event);
    }

    fn report(&self, step: &str, started: Instant, end: End) -> Status {
        let outcome = end.outcome;
        let (build, step) = (self.name.clone(), step.to_owned());
        (self.engine.listener)(&Event::StepFinished { build, step, end, seconds: seconds(started) });
        outcome
    }
}

impl End {
    fn succeeded(version: AnyVersion, metadata: Vec<Field>, cached: bool) -> Self {
        Self { outcome: Status::Succeeded, reason: None, version: Some(version), metadata, cached }
    }

    fn errored(reason: &str) -> Self {
        Self::ended(Status::Errored, Some(reason.to_owned()))
    }

    fn ended(outcome: Status, reason: Option<String>) -> Self {
        Self { outcome, reason, version: None, metadata: Vec::new(), cached: false }
    }

    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Succeeded(verdict::Answer::Version(version, metadata)) => {
                Self::succeeded(version, metadata, false)
            }
            Verdict::Succeeded(verdict::Answer::Versions(_)) => Self::ended(Status::Succeeded, None),
            Verdict::Failed(reason) => Self::ended(Status::Failed, Some(reason)),
            Verdict::Errored(reason) => Self::ended(Status::Errored, Some(reason)),
            Verdict::Aborted => Self::ended(Status::Aborted, Some("interrupted".to_owned())),
        }
    }
}

/// Collects the first path segment of every string, at any depth.
fn first_segments<'a>(values: impl Iterator<Item = &'a Value>, found: &mut BTreeSet<String>) {
    for value in values {
        match value {
            Value::String(text) => {
                let first = Path::new(text).components().find(|part| !matches!(part, Component::CurDir));
                if let Some(Component::Normal(name)) = first {
                    found.insert(name.to_string_lossy().into_owned());
                }
            }
            Value::Array(items) => first_segments(items.iter(), found),
            Value::Object(map) => first_segments(map.values(), found),
            _ => {}
        }
    }
}
