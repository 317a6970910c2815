//! The words for what the preflight rules found, and for the rules that could not look.

use crate::rollout::Policy;
use crate::rollout::preflight::Refusal;
use crate::rollout::preflight::facts::{Finding, Findings, Severity};

/// Returns one line per finding, and one for all the rules that could not look.
#[must_use]
pub fn lines(findings: &Findings, policy: &Policy) -> Vec<String> {
    let blocking = findings.blocking(policy);
    let mut lines: Vec<String> =
        findings.found.iter().map(|finding| line(finding, blocking.contains(&finding))).collect();
    lines.extend(skipped(findings));
    lines
}

fn line(finding: &Finding, blocks: bool) -> String {
    let word = match finding.severity {
        _ if blocks => "refused",
        Severity::Block => "allowed",
        Severity::Warn => "warning",
        Severity::Info => "note",
    };
    let hint = if finding.hint.is_empty() { String::new() } else { format!("; {}", finding.hint) };
    format!("{word}: {}{hint} ({})", finding.words, finding.rule)
}

/// Returns the rules that could not look, grouped by what they would have needed.
#[must_use]
pub fn groups(findings: &Findings) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for skipped in &findings.skipped {
        match groups.iter_mut().find(|(needs, _)| *needs == skipped.needs) {
            Some((_, rules)) => rules.push(skipped.rule),
            None => groups.push((&skipped.needs, vec![skipped.rule])),
        }
    }
    groups
}

/// Returns the rules that could not look in one line.
#[must_use]
pub fn skipped(findings: &Findings) -> Option<String> {
    let groups = groups(findings);
    let groups: Vec<String> =
        groups.into_iter().map(|(needs, rules)| format!("{needs} ({})", rules.join(", "))).collect();
    (!groups.is_empty()).then(|| format!("not checked for want of: {}", groups.join("; ")))
}

/// Returns what stops the rollout, in the words of the first rule that does.
#[must_use]
pub fn refusal(findings: &Findings, policy: &Policy) -> Option<Refusal> {
    let blocking = findings.blocking(policy);
    let (first, others) = blocking.split_first()?;
    let words = match others.len() {
        0 => first.words.clone(),
        _ => {
            let others: Vec<&str> = others.iter().map(|finding| finding.rule).collect();
            format!("{}; also refused by {}", first.words, others.join(", "))
        }
    };
    let allow = format!("`allow: [{}]` goes ahead all the same", first.rule);
    let hint = if first.hint.is_empty() { allow } else { format!("{}; {allow}", first.hint) };
    Some(Refusal { rule: first.rule, words, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        let mut findings = Findings::default();
        findings.add("X001", Severity::Info, "one".to_owned(), "");
        findings.add("X002", Severity::Warn, "two".to_owned(), "do that");
        findings.add("X003", Severity::Block, "three".to_owned(), "do this");
        findings
    }

    fn policy(allow: &[&str], strict: bool) -> Policy {
        Policy { allow: allow.iter().map(|rule| (*rule).to_owned()).collect(), strict, ..Policy::default() }
    }

    #[test]
    fn each_finding_is_one_line_that_ends_with_its_rule() {
        assert_eq!(
            lines(&findings(), &policy(&[], false)),
            ["note: one (X001)", "warning: two; do that (X002)", "refused: three; do this (X003)"]
        );
        assert_eq!(lines(&findings(), &policy(&["X003"], false))[2], "allowed: three; do this (X003)");
    }

    #[test]
    fn refusal_tells_the_first_rule_and_names_the_others() {
        let strict = refusal(&findings(), &policy(&[], true)).unwrap();
        assert_eq!(strict.to_string(), "two; also refused by X003 (X002)");
        assert_eq!(strict.hint, "do that; `allow: [X002]` goes ahead all the same");
        assert_eq!(refusal(&findings(), &policy(&["X003"], false)), None);
    }

    #[test]
    fn rules_that_could_not_look_are_one_line_grouped_by_what_they_need() {
        use crate::rollout::preflight::facts::Asked;
        let mut findings = Findings::default();
        let nodes: Asked<()> = Asked::Unknown("list nodes".to_owned());
        let quotas: Asked<()> = Asked::Unknown("list resourcequotas".to_owned());
        assert!(findings.need("C601", &nodes).is_none());
        assert!(findings.need("C605", &quotas).is_none());
        assert!(findings.need("C603", &nodes).is_none());
        assert_eq!(
            lines(&findings, &Policy::default()),
            ["not checked for want of: list nodes (C601, C603); list resourcequotas (C605)"]
        );
        assert_eq!(skipped(&Findings::default()), None);
    }
}
