//! What the end of a process means to Concourse. A non-zero exit is *failed* and its stdout is not
//! looked at; an answer that does not decode is *errored*; the two trigger different hooks.

use serde_json::Value;

use crate::concourse::request::kind;
use crate::concourse::{AnyVersion, Field, Step};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Exit(i32),
    /// By a signal that the harness did not send.
    Signal(i32),
    /// Because the build was aborted.
    Interrupted,
    /// Because the step's `timeout` was over.
    TimedOut,
}

/// What a step answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A check's versions, oldest first.
    Versions(Vec<AnyVersion>),
    /// A get's or a put's version.
    Version(AnyVersion, Vec<Field>),
}

/// What Concourse makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Green.
    Succeeded(Answer),
    /// Red: `on_failure`.
    Failed(String),
    /// Orange: `on_error`.
    Errored(String),
    /// Brown: `on_abort`.
    Aborted,
}

impl Verdict {
    /// Returns the word that Concourse uses.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "succeeded",
            Self::Failed(_) => "failed",
            Self::Errored(_) => "errored",
            Self::Aborted => "aborted",
        }
    }

    /// Returns why it did not succeed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed(reason) | Self::Errored(reason) => Some(reason),
            Self::Aborted => Some("interrupted"),
            Self::Succeeded(_) => None,
        }
    }
}

/// Returns what Concourse makes of `step` that ended like this and wrote `stdout`.
#[must_use]
pub fn judge(step: Step, ended: Ended, stdout: &[u8]) -> Verdict {
    let path = format!("/opt/resource/{}", step.executable());
    match ended {
        Ended::Interrupted => Verdict::Aborted,
        Ended::TimedOut => Verdict::Failed("timeout exceeded".to_owned()),
        Ended::Exit(0) => answer(step, stdout).map_or_else(Verdict::Errored, Verdict::Succeeded),
        Ended::Exit(code) => Verdict::Failed(format!("`{path}` ended with exit code {code}")),
        Ended::Signal(signal) => Verdict::Failed(format!("`{path}` was ended by signal {signal}")),
    }
}

fn answer(step: Step, stdout: &[u8]) -> Result<Answer, String> {
    let mut values = serde_json::Deserializer::from_slice(stdout).into_iter::<Value>();
    let value = match values.next() {
        None => Value::Null,
        Some(Ok(value)) => value,
        Some(Err(error)) => return Err(format!("its stdout is not JSON: {error}; {}", excerpt(stdout))),
    };
    match step {
        Step::Check => versions(&value).map(Answer::Versions),
        Step::Get | Step::Put => fetched(step, &value),
    }
}

fn versions(value: &Value) -> Result<Vec<AnyVersion>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items
            .iter()
            .map(|item| match version(item)? {
                empty if empty.is_empty() => Err("resource output version is empty".to_owned()),
                version => Ok(version),
            })
            .collect(),
        other => Err(format!("its stdout is {}, not a list of versions", kind(other))),
    }
}

fn fetched(step: Step, value: &Value) -> Result<Answer, String> {
    let (found, metadata) = match value {
        Value::Null => (None, None),
        Value::Object(_) => (member(value, "version"), member(value, "metadata")),
        other => return Err(format!("its stdout is {}, not an object with a version", kind(other))),
    };
    let found = match found {
        None | Some(Value::Null) => {
            let directory = if step == Step::Get { "get" } else { "put" };
            let path = format!("/opt/resource/{} /tmp/build/{directory}", step.executable());
            return Err(format!("resource script ({path}) output a null version"));
        }
        Some(found) => version(found)?,
    };
    if step == Step::Put && found.is_empty() {
        return Err("resource output version is empty".to_owned());
    }
    Ok(Answer::Version(found, fields(metadata.unwrap_or(&Value::Null))?))
}

/// Concourse's decoder takes a key in any case, the exact one first.
fn member<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let map = value.as_object()?;
    map.get(key)
        .or_else(|| map.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

fn version(value: &Value) -> Result<AnyVersion, String> {
    let map = match value {
        Value::Null => return Ok(AnyVersion::new()),
        Value::Object(map) => map,
        other => return Err(format!("the version is {}, not a map of strings", kind(other))),
    };
    map.iter()
        .map(|(key, value)| Ok((key.clone(), text(value, &format!("the version's `{key}`"))?)))
        .collect()
}

fn fields(value: &Value) -> Result<Vec<Field>, String> {
    let items = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items,
        other => return Err(format!("the metadata is {}, not a list", kind(other))),
    };
    let field = |item: &Value| {
        if !item.is_object() {
            return Err(format!("a metadata entry is {}, not an object", kind(item)));
        }
        let part =
            |key: &str| text(member(item, key).unwrap_or(&Value::Null), &format!("a metadata `{key}`"));
        Ok(Field { name: part("name")?, value: part("value")? })
    };
    items.iter().map(field).collect()
}

/// Go leaves a string empty when it decodes null into it.
fn text(value: &Value, what: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        other => Err(format!("{what} is {}; Concourse takes strings only", kind(other))),
    }
}

fn excerpt(stdout: &[u8]) -> String {
    let text = String::from_utf8_lossy(stdout);
    let start: String = text
        .trim_start()
        .chars()
        .take(40)
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    format!("it starts with `{}`", start.trim_end())
}

#[cfg(test)]
mod tests;
