//! The catalogue of the preflight rules is written from the code.
//! `UPDATE_RULES=1 cargo test --test integration rollout_rules` writes it anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use rollway::rollout::preflight::facts::Severity;
use rollway::rollout::preflight::rules;

const TOP: &str = "\
# The preflight rules

Each looks before anything is written. `rollway plan` shows what they find, and every put asks them first.

| severity | what it means |
|---|---|
| block | it cannot succeed, would take the service down, or would fight an owner: nothing is written |
| warn | it may lose requests or fail later; blocks with `strict: true` |
| info | good to know |

The severity below is the worst that the rule says; what it says here depends on the workload, and on the way that `drain` has chosen.
`allow: [ID]` lets a rule pass that would block.

";

#[test]
fn the_catalogue_is_that_of_the_code() {
    let mut text = TOP.to_owned();
    text.push_str("| id | name | severity | when | what to do |\n|---|---|---|---|---|\n");
    for rule in rules() {
        let severity = match rule.severity {
            Severity::Block => "block",
            Severity::Warn => "warn",
            Severity::Info => "info",
        };
        writeln!(text, "| {} | {} | {severity} | {} | {} |", rule.id, rule.name, rule.when, rule.fix)
            .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("resource/rollout/rules.md");
    if std::env::var_os("UPDATE_RULES").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} is old: run UPDATE_RULES=1 cargo test --test integration rollout_rules",
        path.display()
    );
}
