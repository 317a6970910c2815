//! Drives a rollout: looks, asks the pure part for the next step, does it, looks again. With the files
//! below it the only place in `rollout` that talks to the API server; it decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::FutureExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::Api;

use self::account::Account;
use self::identities::Known;
use self::live::{Place, Routes};
use self::lock::Lock;
use super::annotations::Journal;
use super::observe::{Slot, Snapshot, digest_of};
use super::outcome::{Ending, Notes};
use super::plan::drain::{Choice, Way};
use super::plan::patch;
use super::preflight::words;
use super::proof::Proof;
use super::report::Reporter;
use super::sets::patch::surges;
use super::verdict::{Goal, Part, Verdict, judge};
use super::{Error, Kind, Order, Outcome, Report, Running, Target, history, preflight};
use crate::cluster::Cluster;
use crate::concourse::Interrupted;
use crate::image::{Digest, Pinned};
use crate::log::Log;
use crate::probe::load::Prober;
use crate::registry;

mod account;
mod act;
mod back;
mod clock;
mod doctor;
mod ending;
mod evidence;
mod gate;
mod guard;
mod identities;
pub mod lines;
mod live;
mod lock;
pub mod record;
mod sets;
mod several;
mod sight;
pub mod status;
mod steps;
mod survey;
mod takeover;
mod witness;

pub use gate::{Plan, plan};

pub use several::{roll_all, select};

/// How long the API server may be out of sight before the outcome counts as unknown.
const BLIND: Duration = Duration::from_secs(60);
/// What ending pods may take beyond the drain wait: the longest common grace period and some air.
const ENDING: Duration = Duration::from_secs(120);

/// Everything that a rollout needs to know of its surroundings.
pub struct Site<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// How to ask the registry of the image.
    pub registry: &'a registry::Access,
    /// Where retries and warnings go.
    pub log: &'a Log,
    /// Who hears what happens.
    pub reporter: &'a dyn Reporter,
    /// Resolves when somebody asks to stop.
    pub interrupted: Interrupted,
}

/// Returns what runs on all pods of the Deployment; `None` while they differ or a rollout is under way.
///
/// # Errors
///
/// When the Deployment is not there, or the API server does not answer.
pub async fn running(
    cluster: &Cluster,
    registry: &registry::Access,
    target: &Target,
    log: &Log,
) -> Result<Option<Running>, Error> {
    let place = place(cluster, target).await?;
    let snapshot = place.look().await?;
    if snapshot.journal().is_some() || snapshot.wanted() == 0 {
        return Ok(None);
    }
    let Some(image) = running_image(&snapshot) else { return Ok(None) };
    let mut others = BTreeMap::new();
    for slot in snapshot.slots().skip(1) {
        let Some(image) = slot_image(&snapshot, &slot) else { return Ok(None) };
        let identities = identities(registry, &image, &snapshot, slot.name, log).await;
        others.insert(slot.name.to_owned(), Part { image: slot.image.to_owned(), identities });
    }
    let goal = Goal {
        uid: snapshot.uid().to_owned(),
        generation: 0,
        image: snapshot.image().to_owned(),
        identities: identities(registry, &image, &snapshot, &snapshot.container, log).await,
        others,
    };
    let mut left_out = snapshot.set.iter().flat_map(|set| set.left_out());
    let is_everywhere = left_out.all(|pod| {
        digest_of(pod, &snapshot.container).is_none_or(|digest| goal.identities.contains(&digest))
    });
    let is_complete = is_everywhere && judge(&goal, &snapshot) == Verdict::Complete;
    Ok(is_complete.then(|| describe(&snapshot, image)))
}

/// Returns one look at the Deployment and everything that belongs to it.
///
/// # Errors
///
/// When the Deployment is not there, or the API server does not answer.
pub async fn look(cluster: &Cluster, target: &Target) -> Result<Snapshot, Error> {
    Ok(place(cluster, target).await?.look().await?)
}

/// Returns what was rolled out before, newest first.
///
/// # Errors
///
/// When the Deployment is not there, or the API server does not answer.
pub async fn history(cluster: &Cluster, target: &Target) -> Result<Vec<history::Entry>, Error> {
    Ok(history::read(&look(cluster, target).await?))
}

fn running_image(snapshot: &Snapshot) -> Option<Pinned> {
    slot_image(snapshot, &snapshot.slot(&snapshot.container))
}

/// Returns the template's image, pinned: by its own digest, else by the one that all pods report.
fn slot_image(snapshot: &Snapshot, slot: &Slot<'_>) -> Option<Pinned> {
    let image = slot.image;
    if let Some((name, digest)) = image.split_once('@') {
        let digest = digest.parse().ok()?;
        return Some(Pinned { repository: registry::split(name).0.to_owned(), digest });
    }
    let digest = digest_of(snapshot.new_pods().first()?, slot.name)?;
    Some(Pinned { repository: registry::split(image).0.to_owned(), digest })
}

fn describe(snapshot: &Snapshot, image: Pinned) -> Running {
    let pods = snapshot.new_pods();
    Running {
        image,
        revision: snapshot.revision().to_owned(),
        uid: snapshot.uid().to_owned(),
        container: snapshot.container.clone(),
        pods: pods
            .iter()
            .filter_map(|pod| snapshot.running_digest(pod).map(|digest| (pod.name_any(), digest)))
            .collect(),
    }
}

/// Asks the registry what else a runtime may report for `image`, but only when some pod does report
/// something else: most never need it. A registry that does not answer adds nothing to the proof.
async fn identities(
    registry: &registry::Access,
    image: &Pinned,
    snapshot: &Snapshot,
    container: &str,
    log: &Log,
) -> BTreeSet<Digest> {
    let mut known = [image.digest.clone()].into();
    let reported: Vec<Digest> = snapshot.pods.iter().filter_map(|pod| digest_of(pod, container)).collect();
    if reported.iter().all(|digest| *digest == image.digest) {
        return known;
    }
    if let Ok(client) = registry::Client::connect(&image.repository, registry, log)
        && let Ok(Some(all)) = client.identities(&image.digest).await
    {
        known.extend(all);
    }
    known
}

async fn place(cluster: &Cluster, target: &Target) -> Result<Place, Error> {
    let (template, selector, surges) = match target.kind {
        Kind::Deployment => {
            let deployment: Deployment = workload(cluster, target).await?;
            let spec = deployment.spec.unwrap_or_default();
            (Some(spec.template), spec.selector, true)
        }
        _ => {
            let set = sets::find(cluster, target).await?;
            (set.template().cloned(), set.selector(), surges(&set))
        }
    };
    let (container, others) =
        preflight::containers(target.kind.title(), template.as_ref(), &target.containers)
            .map_err(Error::Preflight)?;
    let query = kube::core::Selector::try_from(selector).ok();
    Ok(Place {
        cluster: cluster.clone(),
        namespace: target.namespace.clone(),
        kind: target.kind,
        surges,
        name: target.name.clone(),
        container,
        others,
        selector: query.map(|query| query.to_string()).unwrap_or_default(),
        routes: Routes::default(),
    })
}

/// Reads the workload; one that is not there is told with the names of those that are.
async fn workload<K>(cluster: &Cluster, target: &Target) -> Result<K, Error>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let Target { namespace, kind, name, .. } = target;
    let api: Api<K> = Api::namespaced(cluster.client.clone(), namespace);
    let doing = format!("get {} `{namespace}/{name}`", kind.word());
    match api.get(name).await.map_err(|error| cluster.describe(error, &doing)) {
        Err(error) if error.status() == Some(404) => {
            Err(cluster.no_workload::<K>(kind.title(), namespace, name).await.into())
        }
        answer => Ok(answer?),
    }
}

/// Rolls the Deployment to what is ordered, or takes over the rollout that another run left behind.
/// Returns how it ended, well or not.
pub async fn roll(site: &Site<'_>, target: &Target, order: &Order) -> Report {
    let started = Instant::now();
    let mut interrupted = site.interrupted.clone().fuse();
    let begun = futures::select_biased! {
        begun = place(site.cluster, target).boxed_local().fuse() => begun,
        () = interrupted => Err(Error::Interrupted { state: "nothing was written".to_owned() }),
    };
    let place = match begun {
        Ok(place) => place,
        Err(error) => {
            let workload = format!("{}/{}/{}", target.namespace, target.kind.word(), target.name);
            let notes = Notes { seconds: started.elapsed().as_secs_f64(), ..Notes::default() };
            return Report::new(workload, order.image.to_string(), notes, Err(error));
        }
    };
    let (known, account, seen) = (Mutex::default(), Mutex::default(), Mutex::default());
    let prober = Mutex::default();
    let (lock, trouble) = (Mutex::default(), Mutex::default());
    let patience = BLIND;
    let rollout =
        Rollout { site, place, order, known, started, account, seen, prober, lock, trouble, patience };
    let run = rollout.run().fuse();
    futures::pin_mut!(run);
    let result = futures::select_biased! {
        result = run => result,
        () = interrupted => Err(rollout.interrupted().await),
    };
    rollout.unlock().await;
    if let Some(retry) = result.as_ref().err().filter(|error| error.class().is_some()).and_then(Error::retry)
    {
        rollout.say(retry.words());
    }
    rollout.report(result)
}

struct Rollout<'a> {
    site: &'a Site<'a>,
    place: Place,
    order: &'a Order,
    /// What a runtime may report for each image.
    known: Mutex<Known>,
    started: Instant,
    account: Mutex<Account>,
    seen: Mutex<Proof>,
    prober: Mutex<Option<Prober>>,
    lock: Mutex<Lock>,
    /// When the API server last gave no answer.
    trouble: Mutex<Option<Instant>>,
    /// How long it may give none.
    patience: Duration,
}

impl Rollout<'_> {
    async fn run(&self) -> Result<Outcome, Error> {
        let snapshot = self.place.look().await?;
        self.note_look(&snapshot);
        self.see(&snapshot);
        self.look_over(&snapshot)?;
        let choice = self.gate(&snapshot).await?;
        if self.is_written(&snapshot) && self.is_complete(&snapshot) {
            self.say(&format!("already there: {}", self.proof(&snapshot)));
            return Ok(self.outcome(&snapshot, Ending::AlreadyThere));
        }
        self.lock(&snapshot).await;
        // What the run before did until it heard of this one is in no older look.
        let snapshot = self.fresh().await?;
        let snapshot = match snapshot.journal() {
            Some(journal) if !self.is_written(&snapshot) => {
                self.take_over(snapshot, &journal, choice.way).await?
            }
            _ => snapshot,
        };
        if self.is_written(&snapshot) {
            return self.attach(snapshot).await;
        }
        self.announce(&snapshot, &choice);
        self.probe(&snapshot).await?;
        let snapshot = self.write(snapshot, choice.way).await?;
        let outcome = self.drive(self.goal(&snapshot), snapshot).await?;
        if let Some(loses) = choice.loses {
            self.say(&format!("note: with this drain requests may have been lost: {loses}"));
        }
        Ok(outcome)
    }

    /// Goes on from an image that is written already.
    async fn attach(&self, snapshot: Snapshot) -> Result<Outcome, Error> {
        let journal = snapshot.journal();
        let left = journal.as_ref().and_then(|journal| journal.interrupted.clone());
        self.say(&match (&journal, left) {
            (Some(_), Some(left)) => {
                format!("an earlier run wrote this image and was {left}: going on from what is there")
            }
            (Some(_), None) => {
                "an earlier run wrote this image and did not finish: going on from what is there".to_owned()
            }
            (None, _) => {
                "this image is written already and its pods are on their way: waiting for them".to_owned()
            }
        });
        self.note_written(journal.as_ref().map(|journal| journal.previous.as_str()));
        let snapshot = match journal {
            Some(journal) if journal.interrupted.is_some() || journal.taken.is_some() => {
                let journal = Journal { interrupted: None, taken: None, ..journal };
                let noted = self.patch_deployment(patch::note(&snapshot, &journal), "go on with").await;
                if noted.is_ok() { self.fresh().await? } else { snapshot }
            }
            _ => snapshot,
        };
        self.drive(self.goal(&snapshot), snapshot).await
    }

    fn is_complete(&self, snapshot: &Snapshot) -> bool {
        snapshot.journal().is_none() && judge(&self.goal(snapshot), snapshot) == Verdict::Complete
    }

    fn is_written(&self, snapshot: &Snapshot) -> bool {
        self.goal(snapshot).is_written(snapshot)
    }

    /// Returns what the other containers are to run, by name.
    fn others(&self) -> BTreeMap<String, Part> {
        let part = |name: &String| {
            let image = self.order.image_of(name).to_string();
            (name.clone(), Part { identities: self.identities(&image), image })
        };
        self.place.others.iter().map(part).collect()
    }

    fn say(&self, text: &str) {
        self.site.reporter.line(text);
    }

    fn announce(&self, snapshot: &Snapshot, choice: &Choice) {
        self.say(&format!(
            "{}: container {}, {}, revision {}",
            snapshot.name(),
            snapshot.slots().map(|slot| slot.name).collect::<Vec<_>>().join(" and "),
            words::pods(snapshot.wanted()),
            snapshot.revision()
        ));
        self.say(&format!("  from {}", snapshot.image()));
        let tag = self.order.tag.as_ref().map_or_else(String::new, |tag| format!(" (seen as tag {tag})"));
        self.say(&format!("  to   {}{tag}", self.order.image));
        for (name, part) in
            self.others().into_iter().filter(|(_, part)| part.image != self.order.image.to_string())
        {
            self.say(&format!("  {name} to {}", part.image));
        }
        let way = match choice.way {
            Way::Detached => {
                "detached: new pods first, then the old ones leave their Services, then they end"
            }
            Way::Rolling => "rolling: adds before it removes",
            Way::Plain => "none",
        };
        self.say(&format!("drain {way} ({})", choice.why));
        if let Some(loses) = &choice.loses {
            self.say(&format!("warning: {loses}"));
        }
    }
}
