//! The steps of one job. A step's kind is the one of its keys that names a kind.

use serde_json::Value;

use super::super::Error;
use super::keys::Keys;
use super::{Action, Follow, Get, Hooks, Inputs, Parallel, Put, Step, Wanted};

/// What Concourse can run and this harness cannot.
const ELSEWHERE: [&str; 5] = ["task", "set_pipeline", "load_var", "run", "across"];

/// Reads the steps of one job.
pub(super) struct Reader<'a> {
    job: &'a str,
    /// Steps that cannot be run here, as errors name them.
    pub(super) unsupported: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn of(job: &'a str) -> Self {
        Self { job, unsupported: Vec::new() }
    }

    pub(super) fn steps(&mut self, values: &[Value]) -> Result<Vec<Step>, Error> {
        values.iter().map(|value| self.step(value)).collect()
    }

    pub(super) fn hooks(&mut self, keys: &mut Keys) -> Result<Hooks, Error> {
        let mut hook = |key| keys.any(key).map(|value| self.step(&value).map(Box::new)).transpose();
        Ok(Hooks {
            success: hook("on_success")?,
            failure: hook("on_failure")?,
            error: hook("on_error")?,
            abort: hook("on_abort")?,
            ensure: hook("ensure")?,
        })
    }

    fn step(&mut self, value: &Value) -> Result<Step, Error> {
        let mut keys = Keys::of(format!("a step in job `{}`", self.job), value)?;
        if let Some(kind) = ELSEWHERE.into_iter().find(|kind| keys.has(kind)) {
            let name = match value.get(kind) {
                Some(Value::String(name)) => format!("{kind}: {name}"),
                _ => kind.to_owned(),
            };
            self.unsupported.push(format!("step `{name}` in job `{}`", self.job));
            return Ok(Step {
                action: Action::Do(Vec::new()),
                timeout: None,
                attempts: 1,
                hooks: Hooks::default(),
            });
        }
        let action = self.action(&mut keys)?;
        let timeout = keys.duration("timeout")?;
        let attempts = keys.number("attempts")?.unwrap_or(1);
        let attempts = u32::try_from(attempts).ok().filter(|attempts| *attempts > 0);
        let attempts = attempts.ok_or_else(|| keys.wrong("attempts", "a number of tries, 1 or more"))?;
        let hooks = self.hooks(&mut keys)?;
        keys.ignore(&["tags"]);
        keys.end()?;
        Ok(Step { action, timeout, attempts, hooks })
    }

    fn action(&mut self, keys: &mut Keys) -> Result<Action, Error> {
        let kinds = ["get", "put", "in_parallel", "do", "try"];
        match kinds.into_iter().filter(|kind| keys.has(kind)).collect::<Vec<_>>()[..] {
            ["get"] => get(keys, self.job).map(Action::Get),
            ["put"] => put(keys, self.job).map(Action::Put),
            ["in_parallel"] => self.parallel(keys).map(Action::InParallel),
            ["do"] => {
                let steps = keys.list("do")?;
                self.steps(&steps).map(Action::Do)
            }
            ["try"] => {
                let step = keys.any("try").unwrap_or_default();
                self.step(&step).map(|step| Action::Try(Box::new(step)))
            }
            [] => Err(keys.invalid(
                "it has none of the keys that name a kind of step (get, put, in_parallel, do, try)"
                    .to_owned(),
            )),
            _ => Err(keys.invalid("it is several kinds of step at once".to_owned())),
        }
    }

    fn parallel(&mut self, keys: &mut Keys) -> Result<Parallel, Error> {
        let value = keys.any("in_parallel").unwrap_or_default();
        if let Value::Array(steps) = &value {
            return Ok(Parallel { steps: self.steps(steps)?, limit: usize::MAX, fail_fast: false });
        }
        let mut keys = Keys::of(format!("step `in_parallel` in job `{}`", self.job), &value)?;
        let steps = keys.list("steps")?;
        let limit = keys.number("limit")?.filter(|limit| *limit > 0);
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let fail_fast = keys.flag("fail_fast")?;
        keys.end()?;
        Ok(Parallel { steps: self.steps(&steps)?, limit, fail_fast })
    }
}

fn get(keys: &mut Keys, job: &str) -> Result<Get, Error> {
    let name = keys.required("get")?;
    keys.at(format!("step `get: {name}` in job `{job}`"));
    let wanted = wanted(keys)?;
    Ok(Get {
        resource: keys.text("resource")?.unwrap_or_else(|| name.clone()),
        params: keys.object("params")?,
        wanted,
        passed: keys.texts("passed")?,
        trigger: keys.flag("trigger")?,
        name,
    })
}

fn wanted(keys: &mut Keys) -> Result<Wanted, Error> {
    if keys.has_map("version") {
        return Ok(keys.version("version")?.map_or(Wanted::Latest, Wanted::Pinned));
    }
    match keys.text("version")?.as_deref() {
        None | Some("latest") => Ok(Wanted::Latest),
        Some("every") => Ok(Wanted::Every),
        Some(_) => Err(keys.wrong("version", "`latest`, `every` or a version")),
    }
}

fn put(keys: &mut Keys, job: &str) -> Result<Put, Error> {
    let name = keys.required("put")?;
    keys.at(format!("step `put: {name}` in job `{job}`"));
    let inputs = match keys.any("inputs") {
        None => Inputs::Detect,
        Some(Value::String(word)) if word == "detect" => Inputs::Detect,
        Some(Value::String(word)) if word == "all" => Inputs::All,
        Some(Value::Array(items)) => {
            let names = items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>();
            Inputs::Named(names.ok_or_else(|| keys.wrong("inputs", "a list of artifacts"))?)
        }
        Some(_) => return Err(keys.wrong("inputs", "`detect`, `all` or a list of artifacts")),
    };
    let follow = if keys.flag("no_get")? { Follow::Nothing } else { Follow::Get };
    keys.ignore(&["expose_build_created_by"]);
    Ok(Put {
        resource: keys.text("resource")?.unwrap_or_else(|| name.clone()),
        params: keys.object("params")?,
        get_params: keys.object("get_params")?,
        follow,
        inputs,
        name,
    })
}
