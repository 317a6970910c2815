//! The first act of every rollout: everything the preflight rules want to know, asked once, and what
//! they say about it. `plan` is the same without the rollout.

use super::live::Place;
use super::survey::{Surveyed, Surveyor};
use super::{Rollout, Site};
use crate::rollout::observe::Snapshot;
use crate::rollout::plan::drain::{Choice, Way, choose};
use crate::rollout::plan::labels::{Bound, bound};
use crate::rollout::preflight;
use crate::rollout::preflight::facts::{Asked, Facts, Findings, ImageFacts, Survey};
use crate::rollout::preflight::rights::{self, Need};
use crate::rollout::report::findings;
use crate::rollout::{Error, Order, Target};

/// What a rollout would meet, and how it would go. Nothing was written to find it out.
#[derive(Debug)]
pub struct Plan {
    /// The workload as it is.
    pub snapshot: Snapshot,
    /// How the old pods would leave.
    pub choice: Choice,
    /// What was found out.
    pub survey: Survey,
    /// What the rules say about it.
    pub findings: Findings,
    /// Why the registry could not be asked about the new image.
    pub registry_trouble: Option<String>,
}

/// Looks at everything that a rollout would look at before its first write.
///
/// # Errors
///
/// When the workload is not there, or the API server does not answer.
pub async fn plan(site: &Site<'_>, target: &Target, order: &Order) -> Result<Plan, Error> {
    let place = super::place(site.cluster, target).await?;
    let snapshot = place.look().await?;
    Ok(examine(site, &place, order, snapshot).await)
}

async fn examine(site: &Site<'_>, place: &Place, order: &Order, snapshot: Snapshot) -> Plan {
    let Surveyed { survey, registry_trouble } = Surveyor::new(site, place, order, &snapshot).survey().await;
    let choice = way(&Surveyor::new(site, place, order, &snapshot), &survey.rights_missing).await;
    let facts = Facts { snapshot: &snapshot, order, choice: &choice, survey: &survey };
    let findings = preflight::inspect(&facts);
    Plan { snapshot, choice, survey, findings, registry_trouble }
}

/// Chooses how the pods that run leave; that they can be detached is tried before it is chosen.
pub(super) async fn way(surveyor: &Surveyor<'_>, rights: &Asked<Vec<Need>>) -> Choice {
    let (order, snapshot) = (surveyor.order, surveyor.snapshot);
    let choice = choose(order, snapshot, obstacle(snapshot, rights).as_deref());
    if choice.way != Way::Detached {
        return choice;
    }
    let refused = surveyor.no_relabelling().await;
    refused.map_or(choice, |why| choose(order, snapshot, Some(&why)))
}

/// Returns why the old pods cannot be taken out of their Services, if they cannot.
fn obstacle(snapshot: &Snapshot, rights: &Asked<Vec<Need>>) -> Option<String> {
    if snapshot.routing.is_none() {
        return Some("the credentials may not list services and endpointslices".to_owned());
    }
    rights::obstacle(rights.known().map(Vec::as_slice)).or_else(|| {
        let Bound { service, policy } = bound(snapshot)?;
        Some(format!(
            "network policy `{policy}` goes by every label by which service `{service}` selects them"
        ))
    })
}

impl Rollout<'_> {
    /// Lets the rules look before anything is written, and returns the way that the old pods will go.
    /// Where the image is written already there is nothing to refuse: only its digests are asked for.
    pub(super) async fn gate(&self, snapshot: &Snapshot) -> Result<Choice, Error> {
        if self.is_written(snapshot) {
            let surveyor = Surveyor::new(self.site, &self.place, self.order, snapshot);
            let Surveyed { survey, registry_trouble } = surveyor.only_the_images().await;
            self.keep_identities(&survey);
            self.say_trouble(registry_trouble.as_deref());
            let choice = choose(self.order, snapshot, None);
            let facts = Facts { snapshot, order: self.order, choice: &choice, survey: &survey };
            self.tell(&preflight::inspect_written(&facts))?;
            return Ok(choice);
        }
        let plan = examine(self.site, &self.place, self.order, snapshot.clone()).await;
        self.note_findings(&plan.findings);
        self.keep_identities(&plan.survey);
        self.say_trouble(plan.registry_trouble.as_deref());
        self.tell(&plan.findings)?;
        Ok(plan.choice)
    }

    /// Says what was found, and refuses where something in it stops the rollout.
    fn tell(&self, found: &Findings) -> Result<(), Error> {
        for line in findings::lines(found, &self.order.policy) {
            self.say(&line);
        }
        findings::refusal(found, &self.order.policy).map_or(Ok(()), |refusal| Err(Error::Preflight(refusal)))
    }

    fn say_trouble(&self, trouble: Option<&str>) {
        if let Some(why) = trouble {
            self.say(&format!("warning: cannot ask the registry about {}: {why}", self.order.image));
        }
    }

    fn keep_identities(&self, survey: &Survey) {
        let of = |asked: &Asked<ImageFacts>| asked.known().map(|image| image.identities.clone());
        let others = survey.other_images.iter().map(|(name, asked)| (name.clone(), asked));
        let all = others.chain([(self.order.image.to_string(), &survey.image)]);
        // A registry that denies it, or does not have it, has told nothing.
        let known = all.filter_map(|(name, asked)| Some((name, of(asked).filter(|all| !all.is_empty())?)));
        for (name, digests) in known {
            self.note_identities(&name, digests);
        }
    }
}
