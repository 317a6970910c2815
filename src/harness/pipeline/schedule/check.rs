//! One check of one resource, from the newest version that is known.

use std::cell::RefCell;
use std::path::Path;

use futures::future::LocalBoxFuture;
use serde_json::Map;

use super::super::transcript::{Event, uncoloured};
use super::Keeper;
use crate::concourse::{AnyVersion, Interrupted, Step};
use crate::failure::Failure;
use crate::harness::environment::{self, Facts};
use crate::harness::payload::Payload;
use crate::harness::pipeline::build::Engine;
use crate::harness::process::Limits;
use crate::harness::program::Call;
use crate::harness::verdict::{Answer, Verdict, judge};

/// A check that ended.
pub(super) struct Checked {
    pub(super) resource: String,
    pub(super) failure: Option<String>,
}

impl<'a> Keeper<'a> {
    pub(super) fn check(&self, resource: String, interrupted: &Interrupted) -> LocalBoxFuture<'a, Checked> {
        let (engine, interrupted) = (self.engine, interrupted.clone());
        let known = self.failing.get(&resource).cloned();
        let pin = self.pins.get(&resource).cloned();
        Box::pin(async move {
            let lines = RefCell::new(Vec::new());
            let show = |line: &str| lines.borrow_mut().push(line.to_owned());
            let verdict = match engine.check(&resource, pin, interrupted, &show).await {
                Ok(verdict) => verdict,
                Err(failure) => Verdict::Errored(failure.to_string()),
            };
            let failure = engine.settle(&resource, verdict, known.as_deref(), lines.take());
            Checked { resource, failure }
        })
    }
}

impl Engine<'_> {
    async fn check(
        &self,
        name: &str,
        pin: Option<AnyVersion>,
        interrupted: Interrupted,
        lines: &dyn Fn(&str),
    ) -> Result<Verdict, Failure> {
        let no_program = || crate::harness::Error::NoProgram { path: name.into() };
        let resource = self.config.resources.get(name).ok_or_else(no_program)?;
        let program = self.programs.get(&resource.kind).ok_or_else(no_program)?;
        let newest = self.book.borrow().histories.get(name).and_then(|history| history.newest().cloned());
        let payload =
            Payload { source: resource.source.clone(), params: Map::new(), version: pin.or(newest) };
        let facts = Facts {
            pipeline: self.name.clone(),
            external_url: self.external_url.clone(),
            ..Facts::default()
        };
        let ran = program
            .run(&Call {
                step: Step::Check,
                payload: &payload,
                directory: Path::new(""),
                variables: environment::of_step(Step::Check, &facts, &self.host),
                limits: Limits { interrupted, timeout: Some(resource.check_timeout) },
                lines,
            })
            .await?;
        Ok(judge(Step::Check, ran.ended, &ran.stdout))
    }

    /// Stores what a check found and returns why it did not succeed. `known` is why it did not the
    /// last time: what was said already is not said again.
    fn settle(
        &self,
        name: &str,
        verdict: Verdict,
        known: Option<&str>,
        stderr: Vec<String>,
    ) -> Option<String> {
        let (resource, outcome) = (name.to_owned(), verdict.name());
        match verdict {
            Verdict::Succeeded(Answer::Versions(found)) => {
                let mut book = self.book.borrow_mut();
                let history = book.histories.entry(resource.clone()).or_default();
                let versions: Vec<AnyVersion> = found
                    .iter()
                    .filter(|version| !history.newest_first().contains(version))
                    .cloned()
                    .collect();
                history.save_checked(&found);
                drop(book);
                if !versions.is_empty() || known.is_some() {
                    (self.listener)(&Event::Check {
                        resource,
                        outcome,
                        reason: None,
                        versions,
                        stderr: Vec::new(),
                    });
                }
                None
            }
            Verdict::Succeeded(Answer::Version(..)) | Verdict::Aborted => None,
            Verdict::Failed(reason) | Verdict::Errored(reason) => {
                let last = last_words(&stderr).map(|line| format!(": {line}")).unwrap_or_default();
                let why = format!("{reason}{last}");
                if known != Some(why.as_str()) {
                    let (reason, versions) = (Some(reason), Vec::new());
                    (self.listener)(&Event::Check { resource, outcome, reason, versions, stderr });
                }
                Some(why)
            }
        }
    }
}

/// Returns the line that says best why a process failed: its last error, before the hints that follow
/// it, or else its last line. Colours would be noise in the middle of another error.
fn last_words(stderr: &[String]) -> Option<String> {
    let lines: Vec<String> = stderr.iter().map(|line| uncoloured(line)).collect();
    lines.iter().rfind(|line| line.starts_with("error:")).or(lines.last()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<String> {
        last_words(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn last_words_are_the_last_error_without_its_colours_and_hints() {
        let lines =
            ["error: one", "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m two", "\u{1b}[36mhint:\u{1b}[0m three"];
        assert_eq!(of(&lines), Some("error: two".to_owned()));
    }

    #[test]
    fn last_words_without_an_error_are_the_last_line() {
        assert_eq!(of(&["one", "no \u{1b}[1mroute\u{1b}[0m"]), Some("no route".to_owned()));
        assert_eq!(of(&[]), None);
    }
}
