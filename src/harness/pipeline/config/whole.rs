//! The pipeline's top: resources, types and jobs, and whether their names fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};

use super::super::Error;
use super::keys::Keys;
use super::steps::Reader;
use super::{CheckEvery, Config, Job, Resource};

/// Concourse's own.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) fn pipeline(value: &Value) -> Result<Config, Error> {
    let mut keys = Keys::of("the pipeline", value)?;
    let types = keys.list("resource_types")?;
    let resources = keys.list("resources")?;
    let jobs = keys.list("jobs")?;
    keys.ignore(&["groups", "var_sources", "display"]);
    keys.end_of_top()?;
    let defaults = named(&types, resource_type)?;
    let resources = named(&resources, |name, keys| resource(name, keys, &defaults))?;
    let mut unsupported = Vec::new();
    let jobs = jobs.iter().map(|value| job(value, &mut unsupported)).collect::<Result<Vec<_>, _>>()?;
    if !unsupported.is_empty() {
        return Err(Error::Unsupported { steps: unsupported });
    }
    let config = Config { resources, jobs };
    for job in &config.jobs {
        fits(&config, job)?;
    }
    Ok(config)
}

fn named<T>(
    values: &[Value],
    read: impl Fn(&str, Keys) -> Result<T, Error>,
) -> Result<BTreeMap<String, T>, Error> {
    let mut all = BTreeMap::new();
    for value in values {
        let mut keys = Keys::of("a resource or resource type", value)?;
        let name = keys.required("name")?;
        keys.at(format!("`{name}`"));
        let duplicate = keys.invalid("there are two of this name".to_owned());
        let item = read(&name, keys)?;
        if all.insert(name, item).is_some() {
            return Err(duplicate);
        }
    }
    Ok(all)
}

fn resource_type(name: &str, mut keys: Keys) -> Result<Map<String, Value>, Error> {
    keys.at(format!("resource type `{name}`"));
    keys.required("type")?;
    keys.object("source")?;
    let defaults = keys.object("defaults")?;
    keys.ignore(&["params", "privileged", "tags", "check_every", "unique_version_history", "version"]);
    keys.end()?;
    Ok(defaults)
}

fn resource(
    name: &str,
    mut keys: Keys,
    defaults: &BTreeMap<String, Map<String, Value>>,
) -> Result<Resource, Error> {
    keys.at(format!("resource `{name}`"));
    let kind = keys.required("type")?;
    let mut source = defaults.get(&kind).cloned().unwrap_or_default();
    source.extend(keys.object("source")?);
    let check_every = match keys.text("check_every")?.as_deref() {
        None => CheckEvery::Default,
        Some("never") => CheckEvery::Never,
        Some(text) => super::super::duration::parse(text)
            .map(CheckEvery::Every)
            .ok_or_else(|| keys.wrong("check_every", "a duration such as 1m30s, or `never`"))?,
    };
    let resource = Resource {
        pin: keys.version("version")?,
        check_timeout: keys.duration("check_timeout")?.unwrap_or(CHECK_TIMEOUT),
        kind,
        source,
        check_every,
    };
    keys.ignore(&["icon", "old_name", "public", "tags", "webhook_token", "expose_build_created_by"]);
    keys.end()?;
    Ok(resource)
}

fn job(value: &Value, unsupported: &mut Vec<String>) -> Result<Job, Error> {
    let mut keys = Keys::of("a job", value)?;
    let name = keys.required("name")?;
    keys.at(format!("job `{name}`"));
    let plan = keys.list("plan")?;
    let is_serial = keys.flag("serial")?;
    let serial_groups = keys.texts("serial_groups")?;
    let limit = keys.number("max_in_flight")?.and_then(|limit| usize::try_from(limit).ok());
    let mut reader = Reader::of(&name);
    let plan = reader.steps(&plan)?;
    let hooks = reader.hooks(&mut keys)?;
    unsupported.append(&mut reader.unsupported);
    keys.ignore(&["old_name", "public", "disable_manual_trigger", "interruptible"]);
    keys.ignore(&["build_log_retention", "build_logs_to_retain"]);
    keys.end()?;
    let limit = if is_serial || !serial_groups.is_empty() { Some(1) } else { limit };
    Ok(Job { name, plan, hooks, limit, serial_groups })
}

fn fits(config: &Config, job: &Job) -> Result<(), Error> {
    let wrong = |step: String, reason: String| {
        Err(Error::Invalid { place: format!("step `{step}` in job `{}`", job.name), reason, hint: None })
    };
    let mut names = BTreeSet::new();
    for get in job.gets() {
        let step = format!("get: {}", get.name);
        if !config.resources.contains_key(&get.resource) {
            return wrong(step, format!("there is no resource `{}`", get.resource));
        }
        if !names.insert(&get.name) {
            return wrong(step, "another get has the same name".to_owned());
        }
        for passed in &get.passed {
            let Some(other) = config.job(passed) else {
                return wrong(step, format!("there is no job `{passed}` to pass"));
            };
            let uses = |resource: &String| *resource == get.resource;
            let is_there = other.gets().iter().any(|get| uses(&get.resource));
            if !is_there && !other.puts().iter().any(|put| uses(&put.resource)) {
                return wrong(step, format!("job `{passed}` neither gets nor puts `{}`", get.resource));
            }
        }
    }
    for put in job.puts() {
        if !config.resources.contains_key(&put.resource) {
            return wrong(format!("put: {}", put.name), format!("there is no resource `{}`", put.resource));
        }
    }
    let twice = config.jobs.iter().filter(|other| other.name == job.name).count() > 1;
    if twice {
        let place = format!("job `{}`", job.name);
        return Err(Error::Invalid { place, reason: "there are two of this name".to_owned(), hint: None });
    }
    Ok(())
}
