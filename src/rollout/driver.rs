//! Drives a rollout: looks, asks the pure part for the next step, does it, looks again. With the files
//! below it the only place in `rollout` that talks to the API server; it decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::FutureExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::Api;

use self::doctor::Doctor;
use self::live::{Live, Place};
use super::annotations::{Journal, PREVIOUS};
use super::observe::{Slot, Snapshot, annotation, digest_of};
use super::plan::drain::{Choice, Way};
use super::plan::step::{Clocks, Step, next};
use super::proof::Proof;
use super::report::{Progress, Reporter};
use super::verdict::{Goal, Kind, Lack, Part, Verdict, judge, new_pods_lack};
use super::{Error, Order, Outcome, Running, Target, preflight};
use crate::cluster::{self, Cluster};
use crate::concourse::{Field, Interrupted};
use crate::image::{Digest, Pinned};
use crate::log::Log;
use crate::registry;

mod act;
mod doctor;
mod ending;
mod gate;
pub mod lines;
mod live;

/// How long the API server may be out of sight before the outcome counts as unknown.
const BLIND: Duration = Duration::from_secs(60);
/// How many writes of one rollout may come too late before it gives up.
const RACES: u32 = 10;
/// How often a ReplicaSet whose pods are refused is made to try again.
const NUDGE: Duration = Duration::from_secs(3);
/// How often a look is taken when nothing is heard: clocks move on without events.
const TICK: Duration = Duration::from_millis(500);
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
    Ok((judge(&goal, &snapshot) == Verdict::Complete).then(|| describe(&snapshot, image)))
}

/// Returns one look at the Deployment and everything that belongs to it.
///
/// # Errors
///
/// When the Deployment is not there, or the API server does not answer.
pub async fn look(cluster: &Cluster, target: &Target) -> Result<Snapshot, Error> {
    Ok(place(cluster, target).await?.look().await?)
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
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), &target.namespace);
    let name = format!("{}/{}", target.namespace, target.deployment);
    let doing = format!("get deployment `{name}`");
    let deployment = match api.get(&target.deployment).await.map_err(|error| cluster.describe(error, &doing))
    {
        Err(error) if error.status() == Some(404) => {
            return Err(cluster.no_deployment(&target.namespace, &target.deployment).await.into());
        }
        answer => answer?,
    };
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let (container, others) =
        preflight::containers("Deployment", template, &target.containers).map_err(Error::Preflight)?;
    let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
    let query = selector.and_then(|selector| kube::core::Selector::try_from(selector.clone()).ok());
    Ok(Place {
        cluster: cluster.clone(),
        namespace: target.namespace.clone(),
        name: target.deployment.clone(),
        container,
        others,
        selector: query.map(|query| query.to_string()).unwrap_or_default(),
    })
}

/// Rolls the Deployment to what is ordered, or takes over the rollout that another run left behind.
///
/// # Errors
///
/// When a rule forbids to start, when the new pods are not ready in time (what was begun is then
/// undone where it held both sets of pods), or when somebody else interferes.
pub async fn roll(site: &Site<'_>, target: &Target, order: &Order) -> Result<Outcome, Error> {
    let place = place(site.cluster, target).await?;
    let identities = known_to_registry(site, &order.image).await?;
    let mut others = BTreeMap::new();
    for name in &place.others {
        let image = order.image_of(name);
        let known = *image == order.image;
        let identities = if known { identities.clone() } else { known_to_registry(site, image).await? };
        others.insert(name.clone(), Part { image: image.to_string(), identities });
    }
    let rollout = Rollout { site, place, order, identities, others, started: Instant::now() };
    let mut interrupted = site.interrupted.clone().fuse();
    let run = rollout.run().fuse();
    futures::pin_mut!(run);
    futures::select_biased! {
        result = run => result,
        () = interrupted => Err(rollout.interrupted().await),
    }
}

/// Refuses a digest that the registry does not have; a registry that cannot be asked is said, and
/// does not stop the rollout: the nodes may have credentials that we do not.
async fn known_to_registry(site: &Site<'_>, image: &Pinned) -> Result<BTreeSet<Digest>, Error> {
    let asked = match registry::Client::connect(&image.repository, site.registry, site.log) {
        Ok(client) => client.identities(&image.digest).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(Some(identities)) => Ok(identities),
        Ok(None) => Err(Error::NoImage { image: image.clone() }),
        Err(error) => {
            let failure = crate::failure::Failure::from(error);
            site.reporter.line(&format!("warning: cannot ask the registry about {image}: {failure}"));
            Ok([image.digest.clone()].into())
        }
    }
}

struct Rollout<'a> {
    site: &'a Site<'a>,
    place: Place,
    order: &'a Order,
    identities: BTreeSet<Digest>,
    /// What the other containers are to run, by name.
    others: BTreeMap<String, Part>,
    started: Instant,
}

impl Rollout<'_> {
    async fn run(&self) -> Result<Outcome, Error> {
        let mut snapshot = self.place.look().await?;
        let choice = self.gate(&snapshot).await?;
        if !self.is_written(&snapshot)
            && let Some(journal) = snapshot.journal()
        {
            snapshot = self.take_over(snapshot, &journal).await?;
        }
        if self.is_written(&snapshot) {
            let goal = self.goal(&snapshot);
            return match (judge(&goal, &snapshot), snapshot.journal()) {
                (Verdict::Complete, None) => {
                    self.say(&format!("already there: {}", self.proof(&snapshot)));
                    Ok(self.outcome(&snapshot, "already there"))
                }
                (_, Some(_)) => {
                    self.say(
                        "an earlier run wrote this image and did not finish: going on from what is there",
                    );
                    self.drive(goal, snapshot).await
                }
                (_, None) => {
                    self.say("this image is written already and its pods are on their way: waiting for them");
                    self.drive(goal, snapshot).await
                }
            };
        }
        self.announce(&snapshot, &choice);
        let snapshot = self.write(&snapshot, choice.way).await?;
        let outcome = self.drive(self.goal(&snapshot), snapshot).await?;
        if let Some(loses) = choice.loses {
            self.say(&format!("note: with this drain requests may have been lost: {loses}"));
        }
        Ok(outcome)
    }

    fn is_written(&self, snapshot: &Snapshot) -> bool {
        self.goal(snapshot).other_image(snapshot).is_none()
    }

    fn say(&self, text: &str) {
        self.site.reporter.line(text);
    }

    fn announce(&self, snapshot: &Snapshot, choice: &Choice) {
        self.say(&format!(
            "{}: container {}, {} pods, revision {}",
            snapshot.name(),
            snapshot.slots().map(|slot| slot.name).collect::<Vec<_>>().join(" and "),
            snapshot.wanted(),
            snapshot.revision()
        ));
        self.say(&format!("  from {}", snapshot.image()));
        let tag = self.order.tag.as_ref().map_or_else(String::new, |tag| format!(" (seen as tag {tag})"));
        self.say(&format!("  to   {}{tag}", self.order.image));
        for (name, part) in self.others.iter().filter(|(_, part)| part.image != self.order.image.to_string())
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

    fn goal(&self, snapshot: &Snapshot) -> Goal {
        Goal {
            uid: snapshot.uid().to_owned(),
            generation: snapshot.deployment.metadata.generation.unwrap_or(0),
            image: self.order.image.to_string(),
            identities: self.identities.clone(),
            others: self.others.clone(),
        }
    }

    /// Returns what is in the template, with the digests that its pods report for proof: the goal of a
    /// rollout of another image, and of the way back.
    fn goal_of(&self, snapshot: &Snapshot) -> Goal {
        let reported =
            |name: &str| snapshot.pods.iter().filter_map(|pod| digest_of(pod, name)).collect::<BTreeSet<_>>();
        let part = |slot: Slot<'_>| Part { image: slot.image.to_owned(), identities: reported(slot.name) };
        let others = snapshot.slots().skip(1);
        Goal {
            image: snapshot.image().to_owned(),
            identities: reported(&snapshot.container),
            others: others.map(|slot| (slot.name.to_owned(), part(slot))).collect(),
            ..self.goal(snapshot)
        }
    }

    /// Ends the rollout of another image that an earlier run left half-way: to its end when all its
    /// pods are ready, else by giving the old pods back to their Services before the new image is written.
    async fn take_over(&self, snapshot: Snapshot, journal: &Journal) -> Result<Snapshot, Error> {
        let goal = self.goal_of(&snapshot);
        if journal.detached && new_pods_lack(&goal, &snapshot).is_none() {
            self.say(&format!("an unfinished rollout to {} is ready: finishing it first", goal.image));
            match self.steps(&goal, snapshot).await {
                // Its pods did not stay ready; what it held is undone, and the new image is next.
                Ok(_) | Err(Error::Late { .. } | Error::Superseded { .. }) => {}
                Err(error) => return Err(error),
            }
        } else {
            self.say(&format!("replacing the unfinished rollout to {}", goal.image));
            self.attach_all(&snapshot).await?;
        }
        Ok(self.place.look().await?)
    }

    /// Waits for the goal, or only for the controller to have seen it.
    async fn drive(&self, goal: Goal, snapshot: Snapshot) -> Result<Outcome, Error> {
        if self.order.wait.is_some() {
            let last = self.steps(&goal, snapshot).await?;
            self.say(&format!("done: {}", self.proof(&last)));
            return Ok(self.outcome(&last, "rolled"));
        }
        let mut live = Live::start(&self.place, snapshot);
        let seen = async {
            while !live.snapshot().is_observed() || live.snapshot().new_set().is_none() {
                live.changed().await;
            }
        };
        // A controller that is slow to look at it is not our failure: nobody asked to wait.
        let _ = tokio::time::timeout(Duration::from_secs(10), seen).await;
        self.say("not waiting: wait_until_ready is 0, so nothing is known of the new pods");
        Ok(self.outcome(&live.snapshot(), "written, not waited for"))
    }

    /// Takes one step after the other until the goal is reached. Returns the last look.
    async fn steps(&self, goal: &Goal, snapshot: Snapshot) -> Result<Snapshot, Error> {
        let mut live = Live::start(&self.place, snapshot);
        let mut watch = Stopwatch::new(self.order.wait.unwrap_or_default());
        let (mut doctor, mut proof) = (Doctor::default(), Proof::default());
        loop {
            let mut look = live.snapshot();
            proof.look(&look, self.started.elapsed());
            let clocks = watch.look(goal, &look);
            let mut step = next(goal, &look, clocks, self.order.drain_wait);
            if !matches!(step, Step::Wait(_) | Step::Drain(_)) {
                // What writes or ends the loop is decided on a list: a watch may be behind.
                look = self.place.look().await?;
                live.refresh(&look);
                step = next(goal, &look, watch.look(goal, &look), self.order.drain_wait);
            }
            self.site.reporter.look(&Progress::of(&look, &waits_for(&step)));
            match step {
                Step::Done => {
                    proof.lines().iter().for_each(|line| self.say(line));
                    return Ok(look);
                }
                Step::Gone => return Err(Error::Gone { target: look.name() }),
                Step::Superseded(image) => {
                    self.clear(&look).await?;
                    return Err(Error::Superseded { target: look.name(), image });
                }
                Step::Wait(lack) if watch.is_late(&lack, self.order.drain_wait) => {
                    return Err(self.late(&look, &lack).await);
                }
                Step::Wait(lack) => {
                    if let Some(cause) = doctor.look(self, &look).await {
                        return Err(self.failed(&look, cause).await);
                    }
                    if lack.kind == Kind::Room && !look.is_held() && watch.is_time_to_nudge() {
                        self.nudge(&look).await?;
                    }
                    self.listen(&mut live).await?;
                }
                Step::Drain(_) => self.listen(&mut live).await?,
                step => match self.act(&look, step).await {
                    // A precondition did not hold: something moved since the look, so look again.
                    Err(Error::Cluster(error)) if lost_race(&error) && watch.may_retry() => {
                        self.listen(&mut live).await?;
                    }
                    done => done?,
                },
            }
        }
    }

    async fn listen(&self, live: &mut Live) -> Result<(), Error> {
        let _ = tokio::time::timeout(TICK, live.changed()).await;
        match &live.lost {
            Some((since, _)) if since.elapsed() > BLIND => Err(Error::Unknown {
                target: format!("{}/{}", self.place.namespace, self.place.name),
                seconds: since.elapsed().as_secs(),
            }),
            _ => Ok(()),
        }
    }

    fn proof(&self, snapshot: &Snapshot) -> String {
        let pods = snapshot.new_pods();
        let proven = pods.iter().filter_map(|pod| snapshot.running_digest(pod));
        let proven = proven.filter(|digest| self.identities.contains(digest)).count();
        format!(
            "{proven}/{} pods run {} (revision {})",
            snapshot.wanted(),
            self.order.image,
            snapshot.revision()
        )
    }

    fn outcome(&self, snapshot: &Snapshot, what: &str) -> Outcome {
        let field = |name: &str, value: String| Field { name: name.to_owned(), value };
        let mut fields = vec![
            field("outcome", what.to_owned()),
            field("deployment", snapshot.name()),
            field("image", self.order.image.to_string()),
            field("pods", format!("{} of {}", snapshot.new_pods().len(), snapshot.wanted())),
            field("revision", snapshot.revision().to_owned()),
            field("seconds", self.started.elapsed().as_secs().to_string()),
        ];
        fields.extend(self.order.tag.clone().map(|tag| field("tag", tag)));
        let previous = annotation(&snapshot.deployment.metadata, PREVIOUS).cloned();
        fields.extend(previous.map(|previous| field("previous", previous)));
        Outcome { running: describe(snapshot, self.order.image.clone()), fields }
    }
}

fn lost_race(error: &cluster::Error) -> bool {
    matches!(error.status(), Some(409 | 422))
}

fn waits_for(step: &Step) -> String {
    match step {
        Step::Wait(lack) => lack.words.clone(),
        Step::Drain(_) => "old pods drain".to_owned(),
        _ => String::new(),
    }
}

/// Measures for how long things have been true, and when it is late.
struct Stopwatch {
    started: Instant,
    wait: Duration,
    ready: Option<Instant>,
    unrouted: Option<Instant>,
    refused: Option<Instant>,
    nudged: Instant,
    races: u32,
}

impl Stopwatch {
    fn new(wait: Duration) -> Self {
        let started = Instant::now();
        Self { started, wait, ready: None, unrouted: None, refused: None, nudged: started, races: 0 }
    }

    /// A write that never meets the state it was made for is not a race but somebody's will.
    fn may_retry(&mut self) -> bool {
        self.races += 1;
        self.races <= RACES
    }

    /// Refused pods may fit as soon as an old one is gone.
    fn is_time_to_nudge(&mut self) -> bool {
        let is_time = self.nudged.elapsed() > NUDGE;
        if is_time {
            self.nudged = Instant::now();
        }
        is_time
    }

    fn look(&mut self, goal: &Goal, snapshot: &Snapshot) -> Clocks {
        let lack = new_pods_lack(goal, snapshot);
        Clocks {
            ready: since(&mut self.ready, lack.is_none()),
            unrouted: since(&mut self.unrouted, snapshot.is_every_orphan_out()),
            refused: since(&mut self.refused, lack.is_some_and(|lack| lack.kind == Kind::Room)),
        }
    }

    /// New pods have the time that was asked for; old ones get what draining and ending takes on top.
    fn is_late(&self, lack: &Lack, drain_wait: Duration) -> bool {
        let extra = match lack.kind {
            Kind::OldPods | Kind::Endpoints => drain_wait + ENDING,
            _ => Duration::ZERO,
        };
        self.started.elapsed() > self.wait + extra
    }
}

fn since(start: &mut Option<Instant>, is_true: bool) -> Duration {
    if !is_true {
        *start = None;
        return Duration::ZERO;
    }
    start.get_or_insert_with(Instant::now).elapsed()
}
