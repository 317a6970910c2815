//! The way back of a rollout that failed: the image from before, by compare-and-set, proven by the
//! same predicate. Where nobody wants it, or it leads nowhere, what stays is put in order.

use std::time::Duration;

use super::gate::way;
use super::live::Live;
use super::steps::Stop;
use super::survey::Surveyor;
use super::{ENDING, Rollout};
use crate::failure::chain;
use crate::registry;
use crate::rollout::annotations::{Journal, PREVIOUS};
use crate::rollout::observe::{Snapshot, annotation, grace, is_alive, is_ready, is_same};
use crate::rollout::outcome::Ending;
use crate::rollout::plan::drain::Way;
use crate::rollout::plan::patch;
use crate::rollout::preflight::rights::Need;
use crate::rollout::preflight::words;
use crate::rollout::verdict::{Kind, Lack};
use crate::rollout::{Error, Left, OnFailure};

/// How long the registry may take to say whether the image from before is still there.
const ASKING: Duration = Duration::from_secs(5);
/// The least that pods of the image from before get to be ready again.
const LEAST: Duration = Duration::from_secs(60);
/// How long the controllers may take to see that a ReplicaSet is held.
const HELD: Duration = Duration::from_secs(5);
/// How often the write back may meet another state than the one it was made for.
const RACES: u32 = 5;

impl Rollout<'_> {
    /// Goes back, or leaves the new image in good order; says what is there then.
    pub(super) async fn left(&self, look: &Snapshot) -> Left {
        let went = match self.way_back(look).await {
            Ok(journal) => {
                self.go_back(&journal).await.map(|state| Left { rolled_back: true, state, next: None })
            }
            Err(why) => self
                .leave(look)
                .await
                .map(|state| Left { state: join(self.place.kind.title(), &state, why), ..self.stays(look) }),
        };
        went.unwrap_or_else(|error| match error {
            Stop::Late(look, lack) => Left {
                rolled_back: false,
                state: format!(
                    "the image is {} again, whose pods are not all there yet: {}",
                    look.image(),
                    lack.words
                ),
                next: Some(self.kubectl(&format!("rollout status {}", self.place.address()))),
            },
            Stop::Hopeless(look, cause) => Left {
                rolled_back: false,
                state: format!(
                    "the image is {} again, and its pods do not come up either: {cause}",
                    look.image()
                ),
                next: Some(self.kubectl(&format!("describe {}", self.place.address()))),
            },
            Stop::Ended(error) => {
                Left { state: format!("it could not be taken back: {}", chain(&error)), ..self.stays(look) }
            }
        })
    }

    /// Returns what to go back to, or why not.
    async fn way_back(&self, look: &Snapshot) -> Result<Journal, Option<String>> {
        let is_canary = look.journal().is_some_and(|journal| journal.canary.is_some());
        // A canary that failed must not go on, and what holds it back is not to stay.
        if self.order.on_failure == OnFailure::Leave && !is_canary {
            return Err(None);
        }
        let Some(journal) = look.journal() else {
            return Err(Some("the image was there before this run, so it is not taken back".to_owned()));
        };
        if !is_same(&journal.image, look.image())
            || journal.previous == journal.image
            || journal.previous.is_empty()
        {
            return Err(Some("nobody knows which image ran before".to_owned()));
        }
        // Pods that still run need no registry.
        let old = look.old_pods().into_iter().filter(|pod| is_alive(pod) && is_ready(pod)).count();
        if old < look.wanted() && self.is_gone(&journal.previous).await {
            return Err(Some(format!(
                "there is no way back: {} is gone from its registry",
                journal.previous
            )));
        }
        Ok(journal)
    }

    /// Returns whether the registry says that the image is not there any more; silence is not a no.
    async fn is_gone(&self, image: &str) -> bool {
        let (name, digest) =
            image.split_once('@').map_or((image, None), |(name, digest)| (name, digest.parse().ok()));
        let (repository, tag) = registry::split(name);
        let Ok(client) = registry::Client::connect(repository, self.site.registry, self.site.log) else {
            return false;
        };
        let asked = async {
            match (digest, tag) {
                (Some(digest), _) => client.identities(&digest).await.map(|known| known.is_none()),
                (None, tag) => client.head(tag.unwrap_or("latest")).await.map(|known| known.is_none()),
            }
        };
        matches!(tokio::time::timeout(ASKING, asked).await, Ok(Ok(true)))
    }

    /// Puts the image from before back and proves it, with a deadline of its own.
    pub(super) async fn go_back(&self, journal: &Journal) -> Result<String, Stop> {
        self.attach_all().await?;
        let (snapshot, previous) = (self.take_back(journal).await?, &journal.previous);
        self.say(&format!("taken back: the image is {previous} again"));
        let wait = self.order.wait.unwrap_or_default().max(LEAST);
        let slowest = snapshot.pods.iter().map(grace).max().unwrap_or_default();
        let whole = wait + self.order.drain_wait + ENDING + slowest;
        let goal = self.goal_of(&snapshot);
        let settled = tokio::time::timeout(whole, self.steps(&goal, snapshot, wait)).await;
        let last = match settled {
            Ok(settled) => settled?,
            Err(_) => return Err(self.unproven(whole).await),
        };
        Ok(format!("rolled back: {} on {previous} again", words::pods(last.wanted())))
    }

    async fn unproven(&self, whole: Duration) -> Stop {
        let words = format!("not proven within {} s", whole.as_secs());
        let lack = Lack { kind: Kind::OldPods, words };
        match self.fresh().await {
            Ok(look) => Stop::Late(Box::new(look), lack),
            Err(error) => error.into(),
        }
    }

    /// Writes the image from before, but only over the image that failed.
    async fn take_back(&self, journal: &Journal) -> Result<Snapshot, Error> {
        let mut races = 0;
        loop {
            let look = self.fresh().await?;
            if look.image() == journal.previous && races > 0 {
                // The answer to the write was lost, not the write.
                return Ok(look);
            }
            if !is_same(look.image(), &journal.image) {
                return Err(self.changed(&look, Some(&journal.previous)));
            }
            let journal = look.journal().unwrap_or_else(|| journal.clone());
            let way = self.way_of_failed(&look).await;
            let look = if way == Way::Detached { self.hold_old(look, &journal).await? } else { look };
            self.still_ours(&look).await?;
            match self.patch_deployment(patch::undo(&look, &journal, way), "take back the image of").await {
                Ok(deployment) => return Ok(Snapshot { deployment, ..look }),
                Err(Error::Cluster(error)) if self.may_try_again(&error) && races < RACES => {
                    races += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Holds the ReplicaSet that becomes the new one again, so that the one that failed keeps its pods
    /// until they are drained.
    async fn hold_old(&self, look: Snapshot, journal: &Journal) -> Result<Snapshot, Error> {
        let sets = patch::sets_to_hold(&look, &journal.previous);
        for set in &sets {
            self.patch_set(set, patch::hold_set(set)).await?;
        }
        let mut live = Live::start(&self.place, look.clone());
        let held = async {
            while !patch::sets_to_hold(&live.snapshot(), &journal.previous).is_empty() {
                live.changed().await;
            }
        };
        if !sets.is_empty() && tokio::time::timeout(HELD, held).await.is_err() {
            self.say(
                "warning: the old ReplicaSet does not hold its pods: the new ones may end without a drain",
            );
        }
        self.fresh().await
    }

    /// Returns how the pods that failed leave: those that serve are drained as others are, those that
    /// never served need no care.
    async fn way_of_failed(&self, look: &Snapshot) -> Way {
        let surveyor = Surveyor::new(self.site, &self.place, self.order, look);
        let rights = surveyor.rights().await;
        let way = way(&surveyor, &rights).await.way;
        let may_hold = |missing: &Vec<Need>| {
            !missing.iter().any(|need| need.verb == "patch" && need.resource == "replicasets")
        };
        let is_drained = look.ready_new_pods() > 0 && rights.known().is_some_and(may_hold);
        if way == Way::Detached && !is_drained { Way::Rolling } else { way }
    }

    /// Puts the Deployment's own settings back around the image that stays.
    async fn leave(&self, look: &Snapshot) -> Result<String, Stop> {
        let Some(journal) = look.journal() else { return Ok(String::new()) };
        self.attach_all().await?;
        let orphans = look.orphans().filter(|pod| is_alive(pod)).count();
        if orphans > 0 {
            // The journal stays: another run knows from it that these pods are to end.
            self.patch_deployment(patch::release(look, &journal), "put back the settings of").await?;
            return Ok(format!(
                "{orphans} old pods serve on; the same put again ends them when the new ones are ready"
            ));
        }
        self.patch_deployment(patch::close(look, &journal, Ending::Left), "put back the settings of").await?;
        Ok(String::new())
    }

    /// The new image stays; the next command goes back.
    pub(super) fn stays(&self, look: &Snapshot) -> Left {
        let name = self.place.address();
        let previous = annotation(&look.deployment.metadata, PREVIOUS);
        let back = previous.map_or_else(
            || format!("rollout undo {name}"),
            |previous| format!("set image {name} {}={previous}", look.container),
        );
        Left {
            rolled_back: false,
            state: format!("the {} keeps the new image", self.place.kind.title()),
            next: Some(self.kubectl(&back)),
        }
    }

    fn kubectl(&self, words: &str) -> String {
        format!("kubectl -n {} {words}", self.place.namespace)
    }
}

/// Says that the image stays, and what else there is to say.
fn join(kind: &str, state: &str, why: Option<String>) -> String {
    let stays = format!("the {kind} keeps the new image");
    let parts = [Some(stays), why, Some(state.to_owned()).filter(|state| !state.is_empty())];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
