//! What new pods cannot do without: volumes that old pods hold, objects that the template names, and
//! the API server's consent.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{Surge, nodes};
use crate::rollout::preflight::facts::{Asked, Facts, Findings, Reference, Severity, Trial};
use crate::rollout::verdict::diagnosis::text::tidy;

/// What the API server looks for by itself before it creates a pod.
const ADMITTED: &[&str] = &["serviceaccount", "priorityclass", "runtimeclass"];
const VOLUME: &str = "use a `ReadWriteMany` volume, or the strategy `Recreate` and an outage";

pub(super) fn inspect(facts: &Facts<'_>, findings: &mut Findings) {
    volumes(facts, findings);
    trial(facts, findings);
    references(facts, findings);
}

fn volumes(facts: &Facts<'_>, findings: &mut Findings) {
    let surge = Surge::of(facts);
    let spec = facts.new_pod();
    let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.persistent_volume_claim.as_ref());
    let named: BTreeSet<&str> = volumes.map(|claim| claim.claim_name.as_str()).collect();
    if named.is_empty() || surge.all == 0 {
        return;
    }
    let Some(claims) = findings.need("C604", &facts.survey.claims) else { return };
    for claim in claims {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        if !named.contains(name) {
            continue;
        }
        match mode(claim) {
            Some("ReadWriteOncePod") => {
                let severity = surge.verdict(0).unwrap_or(Severity::Warn);
                let words = format!(
                    "`pvc/{name}` is ReadWriteOncePod: no new pod can have it while an old one does; {}",
                    surge.consequence(0)
                );
                findings.add("C604", severity, words, VOLUME);
            }
            Some("ReadWriteOnce") => once(facts, name, findings),
            _ => {}
        }
    }
}

/// A volume of one node goes well where the scheduler happens to choose the node of the old pod.
fn once(facts: &Facts<'_>, name: &str, findings: &mut Findings) {
    let Some(all) = findings.need("C604", &facts.survey.nodes) else { return };
    let eligible = nodes::eligible(all, &facts.new_pod()).len();
    if eligible > 1 {
        let words = format!(
            "`pvc/{name}` is ReadWriteOnce: a new pod on another of the {eligible} eligible nodes than the old one cannot attach it"
        );
        findings.add("C604", Severity::Warn, words, VOLUME);
    }
}

/// Returns the mode that allows the least, of those that stand in the way; none where it may be shared.
fn mode(claim: &PersistentVolumeClaim) -> Option<&str> {
    let spec = claim.spec.as_ref()?;
    let modes: Vec<&str> = spec.access_modes.iter().flatten().map(String::as_str).collect();
    if modes.iter().any(|mode| matches!(*mode, "ReadWriteMany" | "ReadOnlyMany")) {
        return None;
    }
    modes.into_iter().find(|mode| matches!(*mode, "ReadWriteOncePod" | "ReadWriteOnce"))
}

fn trial(facts: &Facts<'_>, findings: &mut Findings) {
    let Some(Trial::Denied(words)) = findings.need("C606", &facts.survey.trial) else { return };
    let may_wait = Surge::of(facts).may_wait;
    // An old pod that goes first gives its share of the quota back; nothing else changes by itself.
    let is_room = words.contains("exceeded quota");
    let severity =
        if (is_room && may_wait) || facts.snapshot.wanted() == 0 { Severity::Warn } else { Severity::Block };
    let words = format!("the API server refuses a pod of the new template: {}", tidy(words));
    findings.add("C606", severity, words, "");
}

fn references(facts: &Facts<'_>, findings: &mut Findings) {
    let is_admitted = matches!(facts.survey.trial.known(), Some(Trial::Allowed(_)));
    let mut unread = BTreeSet::new();
    for reference in &facts.survey.references {
        match &reference.there {
            _ if is_admitted && ADMITTED.contains(&reference.kind) => {}
            Asked::Known(true) => lacking(reference, findings),
            Asked::Known(false) if reference.only_pulls => {
                let words = format!("pull secret `{}` is not there: nodes pull without it", reference.name);
                findings.add(
                    "C607",
                    Severity::Warn,
                    words,
                    "create it, or take it out of `imagePullSecrets`",
                );
            }
            Asked::Known(false) => {
                let words = format!(
                    "`{}/{}`, which the template names, is not there",
                    reference.kind, reference.name
                );
                findings.add("C607", Severity::Block, words, "create it, or mark it as optional");
            }
            Asked::Unknown(needs) => drop(unread.insert(needs)),
        }
    }
    for needs in unread {
        findings.skip("C607", needs);
    }
}

fn lacking(reference: &Reference, findings: &mut Findings) {
    for key in &reference.lacks {
        let words =
            format!("`{}/{}` has no key `{key}`, which the template names", reference.kind, reference.name);
        findings.add("C607", Severity::Block, words, "add the key, or mark it as optional");
    }
}
