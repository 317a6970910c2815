//! How a rollout ends: one word, one exit code, what to expect of another try, and everything that
//! is known of it as one value. Pure; what a person reads of it is `report`'s and `error`'s.

use serde::{Serialize, Serializer};

use super::error::Error;
use super::preflight::facts::{Finding, Findings, Severity, Skipped};
use super::verdict::diagnosis::rules::{GONE, LOST, PAUSED};
use super::verdict::diagnosis::{Class, Rule};
use super::{Outcome, Running};
use crate::exit::Code;
use crate::failure::Explain;

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every pod runs the image.
    Rolled,
    /// Every pod ran it before anything was done.
    AlreadyThere,
    /// The image was written and nobody waited for its pods.
    Written,
    /// The new pods did not come up, and the image from before is back on every pod.
    RolledBack,
    /// The new pods did not come up, and the new image stays.
    Left,
    /// Somebody wants something else now; the result is theirs.
    Superseded,
    /// Somebody put the image from before back.
    Reverted,
    /// Somebody paused the workload, and it stayed paused.
    Paused,
    /// The API server was out of sight for too long.
    Unknown,
    /// SIGTERM.
    Aborted,
    /// A rule forbids to start; nothing was written.
    Blocked,
    /// It could not even be tried.
    Failed,
}

impl Ending {
    /// Returns the word for it, the same in JSON, in Concourse and in the records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rolled => "rolled",
            Self::AlreadyThere => "already there",
            Self::Written => "written, not waited for",
            Self::RolledBack => "failed and rolled back",
            Self::Left => "failed and left",
            Self::Superseded => "superseded",
            Self::Reverted => "reverted",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
            Self::Aborted => "aborted",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
        }
    }

    /// Returns the exit code of a command that ends so.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Rolled | Self::AlreadyThere | Self::Written => Code::Done,
            Self::RolledBack => Code::RolledBack,
            Self::Left => Code::Left,
            Self::Superseded => Code::Superseded,
            Self::Reverted => Code::Reverted,
            Self::Paused => Code::Paused,
            Self::Unknown => Code::Unknown,
            Self::Aborted => Code::Interrupted,
            Self::Blocked => Code::Blocked,
            Self::Failed => Code::Failed,
        }
    }
}

impl Serialize for Ending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What another try of the same is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Retry {
    /// It may well go better: what failed is outside of the application.
    Yes,
    /// It goes the same way until somebody changes something.
    No,
}

impl Retry {
    /// Returns what a failure of this class means for another try.
    #[must_use]
    pub const fn after(class: Class) -> Self {
        match class {
            Class::Registry | Class::Capacity | Class::Node | Class::Time => Self::Yes,
            Class::Template | Class::App | Class::Policy | Class::External => Self::No,
        }
    }

    /// Returns what a failure by this rule means for another try. Somebody who paused or deleted the
    /// workload may be done by then, and the API server be there again.
    #[must_use]
    pub fn by(rule: &Rule) -> Self {
        if [&GONE, &PAUSED, &LOST].contains(&rule) { Self::Yes } else { Self::after(rule.class) }
    }

    /// Returns the advice in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Yes => "another try may go better",
            Self::No => "another try goes the same way until something is changed",
        }
    }
}

/// Pods of the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pods {
    /// How many there should be.
    pub wanted: usize,
    /// How many run it, by their own runtime's word.
    pub proven: usize,
}

/// Everything that is known of one rollout when it has ended, well or not.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Ending,
    /// The exit code of a command that ends so.
    pub exit: u8,
    /// The rule that says why it did not end well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Whose fault that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<&'static str>,
    /// Why it did not end well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether another try may go better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// `namespace/deployment/name`.
    pub workload: String,
    /// The image that was asked for.
    pub image: String,
    /// The image from before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The Deployment's revision at the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The pods at the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// How long all of it took.
    pub seconds: f64,
    /// How long it took from the written image to the verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict_seconds: Option<f64>,
    /// What was seen while it rolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<serde_json::Value>,
    /// What the rules said before it began.
    pub findings: Vec<Said>,
    /// Rules that could not look.
    pub skipped: Vec<Unasked>,
    /// What a caller goes on with.
    #[serde(skip)]
    pub result: Result<Outcome, Error>,
}

/// One finding of the rules, as JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// The rule's id.
    pub rule: &'static str,
    /// `info`, `warn` or `block`.
    pub severity: &'static str,
    /// What is the matter.
    pub words: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl From<&Finding> for Said {
    fn from(finding: &Finding) -> Self {
        let severity = match finding.severity {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Block => "block",
        };
        Self { rule: finding.rule, severity, words: finding.words.clone(), hint: finding.hint.clone() }
    }
}

/// One rule that could not look, as JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unasked {
    /// The rule's id.
    pub rule: &'static str,
    /// What was missing.
    pub needs: String,
}

impl From<&Skipped> for Unasked {
    fn from(skipped: &Skipped) -> Self {
        Self { rule: skipped.rule, needs: skipped.needs.clone() }
    }
}

/// What was noted on the way, for the report.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// The image from before.
    pub previous: Option<String>,
    /// What the rules said.
    pub findings: Findings,
    /// What was seen while it rolled.
    pub proof: Option<serde_json::Value>,
    /// The revision at the last look.
    pub revision: Option<String>,
    /// The pods at the last look.
    pub pods: Option<Pods>,
    /// Seconds from the written image to the verdict.
    pub verdict_seconds: Option<f64>,
    /// Seconds in all.
    pub seconds: f64,
}

impl Report {
    /// Puts together what was asked for, what was noted and how it ended.
    #[must_use]
    pub fn new(workload: String, image: String, notes: Notes, result: Result<Outcome, Error>) -> Self {
        let outcome = result.as_ref().map_or_else(Error::ending, |outcome| outcome.ending);
        let error = result.as_ref().err();
        let class = error.and_then(Error::class);
        Self {
            outcome,
            exit: outcome.code() as u8,
            rule: error.and_then(Error::rule).map(str::to_owned),
            class: class.map(class_word),
            words: error.map(|error| crate::failure::chain(error)),
            hint: error.and_then(Explain::hint),
            retry: error.and_then(Error::retry),
            workload,
            image,
            previous: notes.previous,
            revision: notes.revision.filter(|revision| !revision.is_empty()),
            pods: notes.pods,
            seconds: tenths(notes.seconds),
            verdict_seconds: notes.verdict_seconds.map(tenths),
            proof: notes.proof,
            findings: notes.findings.found.iter().map(Said::from).collect(),
            skipped: notes.findings.skipped.iter().map(Unasked::from).collect(),
            result,
        }
    }

    /// Returns what a caller goes on with.
    ///
    /// # Errors
    ///
    /// When the rollout did not end well.
    pub fn into_result(self) -> Result<Outcome, Error> {
        self.result
    }

    /// Returns what runs now, when it ended well.
    #[must_use]
    pub fn running(&self) -> Option<&Running> {
        self.result.as_ref().ok().map(|outcome| &outcome.running)
    }
}

/// Nobody reads more of a second than its hundredths.
fn tenths(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

/// Returns a class as people write it.
#[must_use]
pub const fn class_word(class: Class) -> &'static str {
    match class {
        Class::Template => "TEMPLATE",
        Class::App => "APP",
        Class::Node => "NODE",
        Class::Capacity => "CAPACITY",
        Class::Registry => "REGISTRY",
        Class::Policy => "POLICY",
        Class::External => "EXTERNAL",
        Class::Time => "TIME",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::fixtures::mk_image;
    use crate::rollout::preflight::Refusal;

    fn report(error: Error) -> serde_json::Value {
        let notes = Notes { previous: Some(mk_image('a')), seconds: 12.345, ..Notes::default() };
        serde_json::to_value(Report::new("shop/deployment/app".into(), mk_image('b'), notes, Err(error)))
            .unwrap()
    }

    #[test]
    fn every_ending_has_its_own_word_and_failures_their_own_code() {
        let bad = [
            Ending::RolledBack,
            Ending::Left,
            Ending::Superseded,
            Ending::Reverted,
            Ending::Paused,
            Ending::Unknown,
            Ending::Aborted,
            Ending::Blocked,
            Ending::Failed,
        ];
        let codes: std::collections::BTreeSet<u8> = bad.iter().map(|ending| ending.code() as u8).collect();
        assert_eq!(codes, [1, 4, 5, 6, 7, 8, 9, 10, 143].into());
        let words: std::collections::BTreeSet<&str> = bad.iter().map(|ending| ending.word()).collect();
        assert_eq!(words.len(), bad.len());
    }

    #[test]
    fn a_report_of_a_failure_says_how_why_and_whether_to_try_again() {
        let words = format!("`{}` is not in the registry", mk_image('b'));
        let refusal = Refusal { rule: "I101", words: words.clone(), hint: "push it".to_owned() };
        let value = report(Error::Preflight(refusal));
        assert_eq!(value["outcome"], json!("blocked"));
        assert_eq!(value["exit"], json!(4));
        assert_eq!(value["words"], json!(format!("{words} (I101)")));
        assert_eq!(value["previous"], json!(mk_image('a')));
        assert_eq!(value["seconds"], json!(12.35));
        assert!(value.get("verdict_seconds").is_none(), "what is not known is left out");
    }

    #[test]
    fn what_lies_outside_of_the_application_is_worth_another_try() {
        assert_eq!(Retry::after(Class::Registry), Retry::Yes);
        assert_eq!(Retry::after(Class::Capacity), Retry::Yes);
        assert_eq!(Retry::after(Class::Template), Retry::No);
        assert_eq!(Retry::after(Class::App), Retry::No);
    }
}
