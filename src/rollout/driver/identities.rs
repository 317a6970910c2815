//! What counts as proof of an image: every digest that a runtime may report for it. The registry knows
//! them; of an image that ran before, the pods that ran it do too. While pods report a digest that
//! nobody knows, the registry is asked again. What a digest proves is the verdict's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::Rollout;
use crate::failure::Failure;
use crate::image::Digest;
use crate::registry;
use crate::rollout::observe::{Slot, Snapshot, digest_of, is_same};
use crate::rollout::verdict::diagnosis::Cause;
use crate::rollout::verdict::diagnosis::rules::OTHER;
use crate::rollout::verdict::diagnosis::scene::spec_of;
use crate::rollout::verdict::{Goal, Part, stranger};

/// How long the registry may take for one image.
const ASKING: Duration = Duration::from_secs(5);
/// How soon it is asked again when it did not say.
const AGAIN: Duration = Duration::from_secs(5);
/// For how long a pod must be seen to run what the registry does not count to the image.
const SURE: Duration = Duration::from_secs(5);

/// What is known of images, by their names.
#[derive(Debug, Default)]
pub(super) struct Known {
    digests: BTreeMap<String, BTreeSet<Digest>>,
    /// The images whose digests the registry has told.
    told: BTreeSet<String>,
    asked: Option<Instant>,
    /// Why the registry did not say, when it was asked last.
    silence: Option<String>,
    /// The pod that runs another image, and since when it does.
    stranger: Option<(String, Instant)>,
}

impl Known {
    /// Returns what a runtime may report for `image`, under whatever name of its registry.
    fn of(&self, image: &str) -> BTreeSet<Digest> {
        let own = image.split_once('@').and_then(|(_, digest)| digest.parse().ok());
        let told = self.digests.iter().filter(|(name, _)| is_same(name, image));
        told.flat_map(|(_, digests)| digests.clone()).chain(own).collect()
    }

    /// Keeps what the registry says of an image.
    fn tell(&mut self, image: &str, digests: BTreeSet<Digest>) {
        self.told.insert(image.to_owned());
        self.digests.entry(image.to_owned()).or_default().extend(digests);
    }

    /// Keeps what pods report for the images that they were made with, but for those of `goal`: a pod
    /// is no witness for an image that it has to prove.
    fn see(&mut self, snapshot: &Snapshot, goal: &Goal) {
        for (slot, pod) in snapshot.slots().flat_map(|slot| snapshot.pods.iter().map(move |pod| (slot, pod)))
        {
            let image = spec_of(pod, slot.name).and_then(|container| container.image.as_deref());
            if let (Some(image), Some(digest)) = (image, digest_of(pod, slot.name))
                && !is_same(image, goal.wanted(slot.name))
            {
                self.digests.entry(image.to_owned()).or_default().insert(digest);
            }
        }
    }

    /// Returns which images of `goal` the registry is to be asked about now.
    fn open(&mut self, goal: &Goal, now: Instant) -> Vec<String> {
        let open: Vec<String> =
            images(goal).into_iter().filter(|it| !self.told.contains(*it)).cloned().collect();
        if self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < AGAIN) {
            return Vec::new();
        }
        self.asked = Some(now).filter(|_| !open.is_empty()).or(self.asked);
        open
    }

    /// Returns whether the registry has told of every image of `goal`.
    fn has_all(&self, goal: &Goal) -> bool {
        images(goal).into_iter().all(|it| self.told.contains(it))
    }

    /// Returns whether a pod has run another image for so long that it is no moment between two looks.
    fn is_sure_of(&mut self, pod: &str, now: Instant) -> bool {
        let since = match &self.stranger {
            Some((known, since)) if known == pod => *since,
            _ => now,
        };
        self.stranger = Some((pod.to_owned(), since));
        now.saturating_duration_since(since) >= SURE
    }

    /// Adds to `goal` what is known by now.
    fn teach(&self, goal: &mut Goal) {
        goal.identities.extend(self.of(&goal.image));
        for part in goal.others.values_mut() {
            part.identities.extend(self.of(&part.image));
        }
    }
}

fn images(goal: &Goal) -> BTreeSet<&String> {
    goal.others.values().map(|part| &part.image).chain([&goal.image]).collect()
}

impl Rollout<'_> {
    fn known(&self) -> MutexGuard<'_, Known> {
        // What was known before a panic elsewhere is as true as before.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the pods of other images report: it proves the way back.
    pub(super) fn see(&self, snapshot: &Snapshot) {
        let goal = self.goal(snapshot);
        self.known().see(snapshot, &goal);
    }

    /// Keeps what the registry said of an image.
    pub(super) fn note_identities(&self, image: &str, digests: BTreeSet<Digest>) {
        self.known().tell(image, digests);
    }

    /// Returns what a runtime may report for `image`.
    pub(super) fn identities(&self, image: &str) -> BTreeSet<Digest> {
        self.known().of(image)
    }

    /// Returns why the registry did not say which digests are the image's.
    pub(super) fn silence(&self) -> Option<String> {
        self.known().silence.clone()
    }

    /// Returns what is to be there once the order is done.
    pub(super) fn goal(&self, snapshot: &Snapshot) -> Goal {
        let image = self.order.image.to_string();
        Goal {
            uid: snapshot.uid().to_owned(),
            generation: snapshot.deployment.metadata.generation.unwrap_or(0),
            identities: self.identities(&image),
            image,
            others: self.others(),
        }
    }

    /// Returns what is in the template: the goal of a rollout of another image, and of the way back.
    pub(super) fn goal_of(&self, snapshot: &Snapshot) -> Goal {
        let part = |slot: Slot<'_>| {
            let identities = self.identities(slot.image);
            (slot.name.to_owned(), Part { image: slot.image.to_owned(), identities })
        };
        Goal {
            image: snapshot.image().to_owned(),
            identities: self.identities(snapshot.image()),
            others: snapshot.slots().skip(1).map(part).collect(),
            ..self.goal(snapshot)
        }
    }

    /// Asks the registry about digests that nobody knows. Returns what ends the rollout: that the
    /// registry knows the image, and what a pod runs is not of it.
    pub(super) async fn learn(&self, goal: &mut Goal, look: &Snapshot) -> Option<Cause> {
        let open = self.known().open(goal, Instant::now());
        let answers = join_all(open.into_iter().map(async |image| {
            let asked = tokio::time::timeout(ASKING, self.ask(&image)).await;
            let said = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", ASKING.as_secs())));
            (image, said)
        }));
        for (image, said) in answers.await {
            match said {
                Ok(digests) => self.note_identities(&image, digests),
                Err(why) if self.silence().is_none() => {
                    self.say(&format!(
                        "warning: the registry does not say which digests are those of {image}: {why}"
                    ));
                    self.known().silence = Some(why);
                }
                Err(why) => self.known().silence = Some(why),
            }
        }
        self.known().teach(goal);
        let (pod, words) = stranger(goal, look).filter(|_| self.known().has_all(goal))?;
        if !self.known().is_sure_of(&pod, Instant::now()) {
            return None;
        }
        Some(Cause {
            class: OTHER.class,
            rule: OTHER.id,
            words,
            hint: "look for a webhook or a mirror that gives pods another image".to_owned(),
            pod: Some(pod),
            container: None,
            count: 1,
        })
    }

    /// Asks the registry for all digests of an image. Credentials go only to the registry that they are for.
    async fn ask(&self, image: &str) -> Result<BTreeSet<Digest>, String> {
        let (name, digest) = image.split_once('@').unwrap_or((image, ""));
        let (repository, tag) = registry::split(name);
        let host = |name: &str| registry::Repository::parse(name).ok().map(|it| it.host().to_owned());
        if host(repository) != host(&self.order.image.repository) {
            return Err("it is in another registry".to_owned());
        }
        let words = |error: registry::Error| Failure::from(error).to_string();
        let client =
            registry::Client::connect(repository, self.site.registry, self.site.log).map_err(words)?;
        let digest = match digest.parse() {
            Ok(digest) => Some(digest),
            Err(_) => client.head(tag.unwrap_or("latest")).await.map_err(words)?,
        };
        let known = match digest {
            Some(digest) => client.identities(&digest).await.map_err(words)?,
            None => None,
        };
        known.ok_or_else(|| "it does not have it".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::{mk_digest, mk_goal, mk_image, mk_snapshot};

    #[test]
    fn pods_are_witnesses_for_the_images_that_they_were_made_with_and_for_no_other() {
        let mut look = mk_snapshot();
        look.pods[0].status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0].image_id =
            format!("registry/app@{}", mk_digest('d'));
        let mut known = Known::default();
        known.see(&look, &mk_goal('b'));
        assert_eq!(known.of(&mk_image('a')), [mk_digest('a'), mk_digest('d')].into());
        assert_eq!(known.of(&mk_image('b')), [mk_digest('b')].into());
        let mut known = Known::default();
        known.see(&look, &mk_goal('a'));
        assert_eq!(known.of(&mk_image('a')), [mk_digest('a')].into(), "what is to be proven proves nothing");
    }

    #[test]
    fn an_image_by_tag_is_what_its_pods_reported() {
        let mut look = mk_snapshot();
        for pod in &mut look.pods {
            pod.spec.as_mut().unwrap().containers[0].image = Some("registry/app:v1".to_owned());
        }
        let mut known = Known::default();
        known.see(&look, &mk_goal('b'));
        assert_eq!(known.of("registry/app:v1"), [mk_digest('a')].into());
        assert_eq!(known.of("registry/app:v2"), BTreeSet::new());
    }

    #[test]
    fn the_registry_is_asked_until_it_has_told_and_not_all_the_time() {
        let (mut known, goal, now) = (Known::default(), mk_goal('b'), Instant::now());
        assert_eq!(known.open(&goal, now), [mk_image('b')]);
        assert!(known.open(&goal, now + AGAIN / 2).is_empty());
        assert_eq!(known.open(&goal, now + AGAIN), [mk_image('b')]);
        known.tell(&mk_image('b'), [mk_digest('c')].into());
        assert!(known.open(&goal, now + 3 * AGAIN).is_empty() && known.has_all(&goal));
        assert!(!known.is_sure_of("app-1", now) && !known.is_sure_of("app-2", now + SURE));
        assert!(!known.is_sure_of("app-2", now + SURE * 3 / 2) && known.is_sure_of("app-2", now + 2 * SURE));
        let mut goal = goal;
        known.teach(&mut goal);
        assert_eq!(goal.identities, [mk_digest('b'), mk_digest('c')].into());
    }
}
