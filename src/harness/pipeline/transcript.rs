//! What a pipeline run says: events, as JSON lines for machines and as lines for people.

use serde::{Serialize, Serializer};

use super::book::{Status, Use};
use crate::concourse::{AnyVersion, Field};

/// Gets every event as it happens.
pub type Listener<'a> = &'a dyn Fn(&Event);

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A check ended and found something new, or failed in a new way.
    Check {
        /// The resource.
        resource: String,
        /// How it ended.
        outcome: &'static str,
        /// Why it did not succeed.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The versions that are new, oldest first.
        versions: Vec<AnyVersion>,
        /// What it wrote to stderr, when it did not succeed.
        #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "plain_lines")]
        stderr: Vec<String>,
    },
    /// A build starts.
    BuildStarted {
        /// The build.
        #[serde(flatten)]
        build: Name,
        /// What it gets.
        inputs: Vec<Use>,
    },
    /// A get or put starts.
    StepStarted {
        /// The build.
        #[serde(flatten)]
        build: Name,
        /// `get NAME` or `put NAME`.
        step: String,
    },
    /// A get or put wrote a line to stderr.
    Line {
        /// The build.
        #[serde(flatten)]
        build: Name,
        /// `get NAME` or `put NAME`.
        step: String,
        /// The line.
        #[serde(serialize_with = "plain_line")]
        text: String,
    },
    /// A get or put ended.
    StepFinished {
        /// The build.
        #[serde(flatten)]
        build: Name,
        /// `get NAME` or `put NAME`.
        step: String,
        /// How, and with what.
        #[serde(flatten)]
        end: End,
        /// How long it took.
        seconds: f64,
    },
    /// A build ended.
    BuildFinished {
        /// The build.
        #[serde(flatten)]
        build: Name,
        /// How.
        outcome: Status,
        /// How long it took.
        seconds: f64,
    },
}

/// Which build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Name {
    /// The job.
    pub job: String,
    /// The number within the job.
    pub build: u64,
}

/// How a step ended.
#[derive(Clone, Debug, Serialize)]
pub struct End {
    /// The word for it.
    pub outcome: Status,
    /// Why it did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The version it fetched or made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<AnyVersion>,
    /// What goes with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<Field>,
    /// Whether the answer came from an earlier build.
    pub cached: bool,
}

impl Event {
    /// Returns the event as lines for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Check { resource, reason: Some(reason), outcome, stderr, .. } => {
                let stderr = stderr.iter().map(|line| format!("check {resource} | {line}"));
                stderr.chain([format!("check {resource} {outcome}: {reason}")]).collect()
            }
            Self::Check { resource, versions, .. } => versions
                .iter()
                .map(|version| format!("check {resource}: new version {}", on_one_line(version)))
                .collect(),
            Self::BuildStarted { build, .. } => vec![format!("{build} started")],
            Self::StepStarted { .. } => Vec::new(),
            Self::Line { build, step, text } => vec![format!("{build} | {step} | {text}")],
            Self::StepFinished { build, step, end, seconds } => {
                end.lines(&format!("{build} | {step}"), *seconds)
            }
            Self::BuildFinished { build, outcome, seconds } => {
                vec![format!("{build} {} in {seconds:.1} s", outcome.name())]
            }
        }
    }
}

impl End {
    fn lines(&self, place: &str, seconds: f64) -> Vec<String> {
        let version = self.version.as_ref().map(on_one_line).unwrap_or_default();
        let fields = self.metadata.iter().map(|field| format!("{place} |   {}: {}", field.name, field.value));
        let how = match (&self.reason, self.cached) {
            (Some(reason), _) => format!("{place} | {}: {reason}", self.outcome.name()),
            (None, true) => format!("{place} | {version} (cached)"),
            (None, false) => format!("{place} | {version} in {seconds:.1} s"),
        };
        [how].into_iter().chain(fields).collect()
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} #{}", self.job, self.build)
    }
}

fn on_one_line(version: &AnyVersion) -> String {
    version.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", ")
}

/// Returns `line` without what only a terminal understands.
pub(super) fn uncoloured(line: &str) -> String {
    anstream::adapter::strip_str(line).to_string()
}

fn plain_line<S: Serializer>(line: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&uncoloured(line))
}

fn plain_lines<S: Serializer>(lines: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(lines.iter().map(|line| uncoloured(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_people_and_not_for_machines() {
        let coloured = "\u{1b}[31merror:\u{1b}[0m no".to_owned();
        let build = Name { job: "deploy".to_owned(), build: 1 };
        let line = Event::Line { build, step: "put target".to_owned(), text: coloured.clone() };
        assert_eq!(serde_json::to_value(&line).unwrap()["text"], "error: no");
        assert_eq!(line.lines(), [format!("deploy #1 | put target | {coloured}")]);

        let (resource, reason, stderr) = ("image".to_owned(), Some("exit".to_owned()), vec![coloured]);
        let check = Event::Check { resource, outcome: "failed", reason, versions: Vec::new(), stderr };
        assert_eq!(serde_json::to_value(&check).unwrap()["stderr"], serde_json::json!(["error: no"]));
    }
}
