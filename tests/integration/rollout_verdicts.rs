//! The catalogue of what makes a rollout hopeless is written from the code.
//! `UPDATE_RULES=1 cargo test --test integration rollout_verdicts` writes it anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use rollway::rollout::outcome::{Retry, class_word};
use rollway::rollout::preflight::watched;
use rollway::rollout::verdict::diagnosis::rules;

const TOP: &str = "\
# Why a rollout is given up

A rollout that cannot succeed ends as soon as that is certain, and not before.
The words of a kubelet alone are no proof: the registry is asked about an image, the API server about a denied pod or a missing object,
an application must end twice in the same way, and what may be the fault of one node must show on a second one or last.
What is in the way of only the detached drain is never fatal: the rollout goes on as a rolling update first.

Whose fault it is says who has to act: TEMPLATE the pod template or the image reference, APP the application, NODE who runs the nodes,
CAPACITY who runs the cluster or owns the quota, REGISTRY who runs the registry, POLICY who owns the admission rules, EXTERNAL nobody, for somebody else changed the workload,
TIME the application or the deadline.
The last column says whether the same put may go better when it is tried again (`attempts:`).

\"How long\" counts from the moment the evidence is there; a signature is container, exit code, reason and the last line of the termination message without its numbers.

";

const WATCHED: &str = "
## What is to watch it does not answer

A rollout with a probe or a canary is not begun when that could not tell anything.
These speak after the [preflight rules](rules.md) and before anything is written; there is nothing to allow.

| id | name | when | what to do |
|---|---|---|---|
";

#[test]
fn the_catalogue_is_that_of_the_code() {
    let mut text = TOP.to_owned();
    text.push_str(
        "| id | name | class | when | how long | who settles it | again |\n|---|---|---|---|---|---|---|\n",
    );
    for rule in rules() {
        let (class, when, patience) = (class_word(rule.class), rule.when, rule.patience);
        let again = if Retry::by(rule) == Retry::Yes { "yes" } else { "no" };
        let (id, name, decides) = (rule.id, rule.name, rule.decides);
        writeln!(text, "| {id} | {name} | {class} | {when} | {patience} | {decides} | {again} |").unwrap();
    }
    text.push_str(WATCHED);
    for rule in watched::RULES {
        writeln!(text, "| {} | {} | {} | {} |", rule.id, rule.name, rule.when, rule.fix).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("resource/rollout/verdicts.md");
    if std::env::var_os("UPDATE_RULES").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} is old: run UPDATE_RULES=1 cargo test --test integration rollout_verdicts",
        path.display()
    );
}

#[test]
fn ids_and_names_are_unique_and_in_order() {
    let ids: Vec<&str> = rules().map(|rule| rule.id).collect();
    let names: BTreeSet<&str> = rules().map(|rule| rule.name).collect();
    assert!(ids.is_sorted() && ids.len() == names.len(), "{ids:?}");
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
}
