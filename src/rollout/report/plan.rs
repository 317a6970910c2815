//! The words of a plan: what would change, how the old pods would leave, how long it would take, what
//! the rules say, and the command to type. Nothing is asked here; see the survey for that.

use serde_json::{Value, json};

use crate::exit::Code;
use crate::image::Digest;
use crate::image::diff::{Diff, Side, size};
use crate::rollout::learned::{Eta, eta};
use crate::rollout::observe::Snapshot;
use crate::rollout::plan::drain::Way;
use crate::rollout::preflight::facts::{Facts, Finding, Findings, Severity};
use crate::rollout::preflight::{rules, words};
use crate::rollout::report::findings;

/// What the plan comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// The image is there already; a rollout would only prove it.
    AlreadyThere,
    /// It would be rolled.
    Ready,
    /// Warnings alone stop it, because they were asked to.
    Warned,
    /// A rule stops it.
    Blocked,
}

impl Outlook {
    /// Returns the word for it in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::AlreadyThere => "already there",
            Self::Ready => "ready",
            Self::Warned => "warned",
            Self::Blocked => "blocked",
        }
    }

    /// Returns the exit code of a command that ends so.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::AlreadyThere | Self::Ready => Code::Done,
            Self::Warned => Code::Warned,
            Self::Blocked => Code::Blocked,
        }
    }
}

/// A plan, ready to be said.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// What is known.
    pub facts: Facts<'a>,
    /// What the rules say about it.
    pub findings: &'a Findings,
    /// What would do it: `rollway roll …`.
    pub command: &'a str,
}

impl Plan<'_> {
    /// Returns what it comes to.
    #[must_use]
    pub fn outlook(&self) -> Outlook {
        let order = self.facts.order;
        let blocking = self.findings.blocking(&order.policy);
        if blocking.iter().any(|finding| finding.severity == Severity::Block) {
            return Outlook::Blocked;
        }
        if !blocking.is_empty() {
            return Outlook::Warned;
        }
        if self.is_written() { Outlook::AlreadyThere } else { Outlook::Ready }
    }

    /// Returns whether the template names the image already, and no run is in the middle of it.
    fn is_written(&self) -> bool {
        let Facts { snapshot, order, .. } = self.facts;
        let is_wanted = snapshot.slots().all(|slot| slot.image == order.image_of(slot.name).to_string());
        is_wanted && snapshot.journal().is_none()
    }

    /// Says it for a person; the last line is the verdict, with what to type.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.head();
        let findings = self.by_severity();
        if !findings.is_empty() {
            lines.push(String::new());
        }
        for finding in findings {
            lines.push(format!("{:<7}  {} {}", self.word(finding), finding.rule, finding.words));
            lines.extend((!finding.hint.is_empty()).then(|| format!("         hint: {}", finding.hint)));
        }
        lines.extend(self.skipped());
        lines.push(String::new());
        lines.push(self.verdict());
        lines
    }

    /// Says it for a program, as one object.
    #[must_use]
    pub fn json(&self) -> Value {
        let Facts { snapshot, order, choice, .. } = self.facts;
        let outlook = self.outlook();
        let mut plan = json!({
            "outlook": outlook.word(),
            "exit": outlook.code() as u8,
            "workload": workload(snapshot),
            "containers": snapshot.slots().map(|slot| slot.name).collect::<Vec<_>>(),
            "from": snapshot.image(),
            "to": order.image.to_string(),
        });
        if let Some(tag) = &order.tag {
            plan["tag"] = json!(tag);
        }
        plan["pods"] = json!(snapshot.wanted());
        plan["revision"] = json!(snapshot.revision());
        if let Some(diff) = self.diff() {
            plan["diff"] = json!(diff);
        }
        plan["drain"] = json!({ "way": word(choice.way), "why": choice.why });
        if let Some(loses) = &choice.loses {
            plan["drain"]["loses"] = json!(loses);
        }
        if let Some(canary) = &order.canary {
            let pods = canary.pods.of(snapshot.wanted());
            plan["canary"] = json!({ "pods": pods, "seconds": canary.hold.as_secs() });
        }
        if let Some(eta) = self.eta() {
            plan["eta"] = json!({
                "seconds": eta.total.as_secs(), "pods_at_a_time": eta.batch, "batches": eta.batches,
                "seconds_each": eta.each.as_secs(),
            });
        }
        plan["findings"] = self.by_severity().into_iter().map(|finding| self.finding(finding)).collect();
        let skipped = self.findings.skipped.iter();
        plan["skipped"] =
            skipped.map(|skipped| json!({ "rule": skipped.rule, "needs": skipped.needs })).collect();
        plan["command"] = json!(self.command);
        plan
    }

    fn head(&self) -> Vec<String> {
        let Facts { snapshot, order, choice, .. } = self.facts;
        let containers: Vec<&str> = snapshot.slots().map(|slot| slot.name).collect();
        let tag = order.tag.as_ref().map_or_else(String::new, |tag| format!(" (tag {tag})"));
        let mut lines = vec![
            format!(
                "{}: container {}, {}, revision {}",
                workload(snapshot),
                containers.join(", "),
                words::pods(snapshot.wanted()),
                snapshot.revision()
            ),
            format!("from     {}", snapshot.image()),
            format!("to       {}{tag}", order.image),
        ];
        match self.diff() {
            Some(diff) => {
                lines.push(format!("changes  {}", diff.headline()));
                lines.extend(diff.details().map(|detail| format!("         {detail}")));
            }
            None => lines.push("changes  not known: the registry did not describe both images".to_owned()),
        }
        lines.push(format!("drain    {}: {}", word(choice.way), choice.why));
        lines.extend(choice.loses.as_ref().map(|loses| format!("         may lose requests: {loses}")));
        if let Some(canary) = &order.canary {
            let (pods, hold) = (canary.pods.of(snapshot.wanted()), canary.hold.as_secs());
            lines.push(format!("canary   {pods} of {} pods first, watched for {hold} s", snapshot.wanted()));
        }
        lines.push(format!("time     {}", self.time()));
        lines
    }

    fn time(&self) -> String {
        let pull = self.diff().map_or_else(String::new, |diff| match diff.pull.bytes {
            0 => String::new(),
            bytes => format!(", and what pulling {} takes", size(bytes)),
        });
        if self.is_written() {
            return "none for pods that run the image already".to_owned();
        }
        let nobody_waits = if self.facts.order.wait.is_none() { "not waited for, " } else { "" };
        match self.eta() {
            Some(eta) => format!(
                "{nobody_waits}about {} s: {} pods, {} at a time, {} s each{pull}",
                eta.total.as_secs(),
                self.facts.snapshot.wanted(),
                eta.batch,
                eta.each.as_secs(),
            ),
            None => format!("{nobody_waits}not known: no running pod shows how long a start takes{pull}"),
        }
    }

    fn eta(&self) -> Option<Eta> {
        if self.is_written() {
            return None;
        }
        let Facts { snapshot, order, choice, .. } = self.facts;
        eta(snapshot, order, choice.way, std::time::Duration::ZERO)
    }

    /// Returns what changes, where the registry described both images.
    fn diff(&self) -> Option<Diff> {
        let Facts { snapshot, order, survey, .. } = self.facts;
        let (old, new) = (survey.running.known()?, survey.image.known()?);
        let old = Side { digest: &running(snapshot)?, config: old.config.as_ref()?, layers: &old.layers };
        let new = Side { digest: &order.image.digest, config: new.config.as_ref()?, layers: &new.layers };
        Some(Diff::between(&old, &new))
    }

    /// Returns the findings, what stops it first.
    fn by_severity(&self) -> Vec<&Finding> {
        let mut found: Vec<&Finding> = self.findings.found.iter().collect();
        found.sort_by_key(|finding| std::cmp::Reverse((self.stops(finding), finding.severity)));
        found
    }

    fn stops(&self, finding: &Finding) -> bool {
        self.findings.blocking(&self.facts.order.policy).contains(&finding)
    }

    fn is_allowed(&self, finding: &Finding) -> bool {
        self.facts.order.policy.allow.contains(finding.rule)
    }

    fn word(&self, finding: &Finding) -> &'static str {
        match finding.severity {
            Severity::Info => "info",
            _ if self.is_allowed(finding) => "allowed",
            severity => severity_word(severity),
        }
    }

    fn finding(&self, finding: &Finding) -> Value {
        let name = rules().find(|rule| rule.id == finding.rule).map(|rule| rule.name);
        let mut value = json!({ "rule": finding.rule });
        if let Some(name) = name {
            value["name"] = json!(name);
        }
        value["severity"] = json!(severity_word(finding.severity));
        value["stops"] = json!(self.stops(finding));
        value["words"] = json!(finding.words);
        if !finding.hint.is_empty() {
            value["hint"] = json!(finding.hint);
        }
        value
    }

    /// Returns one line per thing that nobody could or may say, with the rules that needed it.
    fn skipped(&self) -> impl Iterator<Item = String> {
        let line =
            |(needs, rules): (&str, Vec<&str>)| format!("skipped  {}: needs {needs}", rules.join(", "));
        findings::groups(self.findings).into_iter().map(line)
    }

    fn verdict(&self) -> String {
        let stopping: Vec<&str> =
            self.by_severity().into_iter().filter(|finding| self.stops(finding)).map(|it| it.rule).collect();
        let allow: String = stopping.iter().map(|rule| format!(" --allow {rule}")).collect();
        let command = self.command;
        match self.outlook() {
            Outlook::Blocked => {
                format!("blocked by {}; to go ahead all the same: {command}{allow}", stopping.join(", "))
            }
            Outlook::Warned => {
                format!(
                    "stopped by warnings, {}; to go ahead all the same: {command}{allow}",
                    stopping.join(", ")
                )
            }
            Outlook::AlreadyThere => {
                format!("already written; this only waits for it and proves it: {command}")
            }
            Outlook::Ready => format!("ready: {command}"),
        }
    }
}

const fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warn => "warn",
        Severity::Block => "block",
    }
}

const fn word(way: Way) -> &'static str {
    match way {
        Way::Detached => "detached",
        Way::Rolling => "rolling",
        Way::Plain => "none",
    }
}

/// Returns `namespace/kind/name`.
fn workload(snapshot: &Snapshot) -> String {
    let name = snapshot.name();
    let kind = snapshot.kind().word();
    name.split_once('/').map_or(name.clone(), |(namespace, name)| format!("{namespace}/{kind}/{name}"))
}

/// Returns the digest that runs: the template's, else the one that a pod reports.
fn running(snapshot: &Snapshot) -> Option<Digest> {
    let written = snapshot.image().split_once('@').and_then(|(_, digest)| digest.parse().ok());
    written.or_else(|| snapshot.own_pods().find_map(|pod| snapshot.running_digest(pod)))
}

#[cfg(test)]
mod tests;
