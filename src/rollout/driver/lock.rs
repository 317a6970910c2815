//! Keeps two runs on one workload apart: a Lease says who rolls it to what. Runs to the same image
//! share it, since every step follows from what is there and does the same whoever takes it. A run
//! to another image takes it over: the newest wish counts, and the older run stops before its next write.
//!
//! Where the credentials have no Leases, the journal on the Deployment says the same.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use serde_json::{Value, json};

use super::Rollout;
use super::live::Place;
use crate::rollout::annotations::{MANAGER, WANTED};
use crate::rollout::observe::{Snapshot, annotation};
use crate::rollout::{Error, Order};

/// After how long without a sign of life a holder counts as gone.
const DURATION: i32 = 20;
/// How often the holder gives a sign of life.
const RENEW: Duration = Duration::from_secs(5);
/// How long a run that lost the lock gets to hear of it and to end the write that it is in.
pub(super) const YIELD: Duration = Duration::from_millis(1_500);
/// How long a request about the lock may take: none is worth more.
const ANSWER: Duration = Duration::from_secs(5);
/// How long giving it back may take, of the time that SIGTERM leaves.
const RELEASE: Duration = Duration::from_millis(500);
/// How often the lock may be another one than was read a moment before.
const RACES: usize = 10;

/// What this run has of the lock.
#[derive(Default)]
pub(super) struct Lock {
    /// Who we are; none without a Lease.
    holder: Option<String>,
    /// Whether the Lease names us, and not another run to the same image.
    held: bool,
    renewed: Option<Instant>,
    news: Option<BoxStream<'static, Lease>>,
}

/// What the Lease says to a run that wants it.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Nobody holds it, or nobody who lives.
    Free,
    /// Another run to the same image holds it.
    Shared(String),
    /// A run to another image holds it, and goes on until it is taken.
    Other { holder: String, wanted: String },
}

fn read(lease: &Lease, wanted: &str, now: Timestamp) -> Found {
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or(DURATION);
    let renewed = spec.renew_time.map_or(0, |time| time.0.as_second());
    if holder.is_empty() || now.as_second() > renewed + i64::from(seconds) {
        return Found::Free;
    }
    match annotation(&lease.metadata, WANTED) {
        Some(other) if other != wanted => Found::Other { holder, wanted: other.clone() },
        _ => Found::Shared(holder),
    }
}

/// Returns the wish of another run that took the Lease, and who that is.
fn taken(lease: &Lease, wanted: &str) -> Option<(String, String)> {
    let other = annotation(&lease.metadata, WANTED).filter(|other| *other != wanted)?;
    let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    Some((
        other.clone(),
        holder.filter(|holder| !holder.is_empty()).unwrap_or_else(|| "another rollout".to_owned()),
    ))
}

fn wanted<'a>(others: impl Iterator<Item = &'a String>, order: &Order) -> String {
    let others = others.map(|name| format!(" {name}={}", order.image_of(name)));
    std::iter::once(order.image.to_string()).chain(others).collect()
}

fn lease_name(place: &Place) -> String {
    let name = format!("rollway-{}", place.address().replace('/', "-"));
    name.chars().take(253).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

/// Returns who rolls the workload to another image now, and to which.
pub(super) async fn other_run(place: &Place, order: &Order) -> kube::Result<Option<(String, String)>> {
    let lease = place.api::<Lease>().get_opt(&lease_name(place)).await?;
    let wanted = wanted(place.others.iter(), order);
    Ok(lease.and_then(|lease| match read(&lease, &wanted, Timestamp::now()) {
        Found::Other { holder, wanted } => Some((holder, wanted)),
        Found::Free | Found::Shared(_) => None,
    }))
}

impl Rollout<'_> {
    /// Takes the lock, or shares it with a run to the same image.
    pub(super) async fn lock(&self, look: &Snapshot) {
        let wanted = self.wanted();
        let now = Timestamp::now();
        let build = &self.order.build.url;
        let who = if build.is_empty() { "rollway" } else { build };
        let holder = format!("{who} (started {now})");
        for _ in 0..RACES {
            let found = match self.lease().await {
                Ok(lease) => lease,
                Err(error) => return self.without_leases(&error),
            };
            let state = found.as_ref().map_or(Found::Free, |lease| read(lease, &wanted, Timestamp::now()));
            if let Found::Shared(other) = &state {
                self.say(&format!("{other} rolls the same image: both go on from what is there"));
                return self.keep(holder, false);
            }
            let written = match &found {
                None => self.create_lease(look, &holder, &wanted).await,
                Some(lease) => self.patch_lease(&take(lease, &holder, &wanted)).await,
            };
            match written {
                Ok(()) => {
                    if let Found::Other { holder: other, wanted } = state {
                        self.say(&format!("superseding {other}, which rolls to {wanted}"));
                        tokio::time::sleep(YIELD).await;
                    }
                    return self.keep(holder, true);
                }
                // Somebody else was faster; what they wrote is read next.
                Err(Some(409 | 422)) => {}
                Err(status) => {
                    return self.without_leases(
                        &status.map_or_else(|| "no answer".to_owned(), |code| code.to_string()),
                    );
                }
            }
        }
    }

    /// Everything that this run may write to, in one text: the same for runs to the same images.
    pub(super) fn wanted(&self) -> String {
        wanted(self.place.others.iter(), self.order)
    }

    fn keep(&self, holder: String, held: bool) {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.lease_name()));
        let events = watcher(self.place.api::<Lease>(), config).default_backoff().applied_objects();
        // A watch that fails is no news: before each write the Lease is read anyway.
        let news = events.filter_map(|event| async { event.ok() }).boxed();
        let lock = Lock { holder: Some(holder), held, renewed: Some(Instant::now()), news: Some(news) };
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = lock;
    }

    fn without_leases(&self, why: &str) {
        self.say(&format!(
            "note: no Lease ({why}): another rollout is told from this one by the Deployment alone"
        ));
    }

    /// Gives a sign of life when it is time, and ends the run when the lock is another's.
    pub(super) async fn keep_lock(&self) -> Result<(), Error> {
        let (newest, renew) = {
            let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            let mut newest = None;
            while let Some(Some(lease)) = lock.news.as_mut().and_then(|news| news.next().now_or_never()) {
                newest = Some(lease);
            }
            let is_due = lock.renewed.is_some_and(|renewed| renewed.elapsed() > RENEW);
            if is_due {
                lock.renewed = Some(Instant::now());
            }
            (newest, lock.holder.clone().filter(|_| is_due && lock.held))
        };
        if let Some((image, by)) = newest.and_then(|lease| taken(&lease, &self.wanted())) {
            return Err(self.superseded_by(image, by));
        }
        if let Some(holder) = renew {
            let operations = json!([
                { "op": "test", "path": "/spec/holderIdentity", "value": holder },
                { "op": "add", "path": "/spec/renewTime", "value": MicroTime(Timestamp::now()) },
            ]);
            // Whoever took it meanwhile is heard of by the watch, and before the next write.
            let _ = self.patch_lease(&operations).await;
        }
        Ok(())
    }

    /// Ends the run when the journal says that another one takes over: where the credentials have no
    /// Leases, nothing else does.
    pub(super) fn heed(&self, look: &Snapshot) -> Result<(), Error> {
        match look.journal().and_then(|journal| journal.taken) {
            Some(image) if image != self.wanted() => {
                Err(self.superseded_by(image, "another rollout".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Makes sure, before a write, that no run to another image has taken over.
    pub(super) async fn still_ours(&self, look: &Snapshot) -> Result<(), Error> {
        self.heed(look)?;
        if self.lock.lock().unwrap_or_else(PoisonError::into_inner).holder.is_none() {
            return Ok(());
        }
        let lease = self.lease().await.ok().flatten();
        match lease.and_then(|lease| taken(&lease, &self.wanted())) {
            Some((image, by)) => Err(self.superseded_by(image, by)),
            None => Ok(()),
        }
    }

    /// Returns whether a Lease keeps the runs apart.
    pub(super) fn has_lease(&self) -> bool {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).holder.is_some()
    }

    /// Gives the lock back, within the time that SIGTERM leaves.
    pub(super) async fn unlock(&self) {
        let lock = std::mem::take(&mut *self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(holder) = lock.holder.filter(|_| lock.held) {
            let operations = json!([
                { "op": "test", "path": "/spec/holderIdentity", "value": holder },
                { "op": "replace", "path": "/spec/holderIdentity", "value": "" },
            ]);
            let _ = tokio::time::timeout(RELEASE, self.patch_lease(&operations)).await;
        }
    }

    fn superseded_by(&self, image: String, by: String) -> Error {
        // The run that takes over ends what this one leaves.
        let target = format!("{}/{}", self.place.namespace, self.place.name);
        Error::Superseded { target, image, by, orphans: 0 }
    }

    /// Names of Leases are as long as names of Deployments, and this one is longer by its beginning.
    fn lease_name(&self) -> String {
        lease_name(&self.place)
    }

    async fn lease(&self) -> Result<Option<Lease>, String> {
        let api = self.place.api::<Lease>();
        match tokio::time::timeout(ANSWER, api.get_opt(&self.lease_name())).await {
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(kube::Error::Api(status))) => Err(status.code.to_string()),
            Ok(Err(_)) | Err(_) => Err("no answer".to_owned()),
        }
    }

    async fn create_lease(&self, look: &Snapshot, holder: &str, wanted: &str) -> Result<(), Option<u16>> {
        let now = MicroTime(Timestamp::now());
        let owner = OwnerReference {
            api_version: "apps/v1".to_owned(),
            kind: self.place.kind.title().to_owned(),
            name: self.place.name.clone(),
            uid: look.uid().to_owned(),
            ..OwnerReference::default()
        };
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.lease_name()),
                annotations: Some([(WANTED.to_owned(), wanted.to_owned())].into()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(DURATION),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        settled(self.place.api::<Lease>().create(&parameters, &lease)).await
    }

    async fn patch_lease(&self, operations: &Value) -> Result<(), Option<u16>> {
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch: Patch<()> = Patch::Json(serde_json::from_value(operations.clone()).unwrap_or_default());
        settled(self.place.api::<Lease>().patch(&self.lease_name(), &parameters, &patch)).await
    }
}

/// Returns the status of a write that was refused, none where there was no answer.
async fn settled<T>(write: impl Future<Output = kube::Result<T>>) -> Result<(), Option<u16>> {
    match tokio::time::timeout(ANSWER, write).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) => Err(Some(status.code)),
        Ok(Err(_)) | Err(_) => Err(None),
    }
}

/// Takes the Lease as it was read, whoever holds it.
fn take(lease: &Lease, holder: &str, wanted: &str) -> Value {
    let version = lease.metadata.resource_version.clone().unwrap_or_default();
    let annotations = lease.metadata.annotations.clone().unwrap_or_default();
    let annotations: std::collections::BTreeMap<String, String> =
        annotations.into_iter().chain([(WANTED.to_owned(), wanted.to_owned())]).collect();
    let now = MicroTime(Timestamp::now());
    json!([
        { "op": "test", "path": "/metadata/resourceVersion", "value": version },
        { "op": "add", "path": "/metadata/annotations", "value": annotations },
        { "op": "add", "path": "/spec", "value": LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(DURATION),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..LeaseSpec::default()
        } },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::{mk, mk_image};

    fn mk_lease(holder: &str, letter: char, renewed: &str) -> Lease {
        mk(json!({
            "metadata": { "name": "l", "resourceVersion": "5", "annotations": { WANTED: mk_image(letter) } },
            "spec": { "holderIdentity": holder, "leaseDurationSeconds": 20, "renewTime": renewed },
        }))
    }

    fn found(lease: &Lease) -> Found {
        read(lease, &mk_image('b'), "2026-01-01T00:00:30Z".parse().unwrap())
    }

    #[test]
    fn a_lease_without_a_living_holder_is_free() {
        assert_eq!(found(&mk_lease("", 'c', "2026-01-01T00:00:29.000000Z")), Found::Free);
        assert_eq!(found(&mk_lease("one", 'c', "2026-01-01T00:00:09.000000Z")), Found::Free);
        assert_eq!(found(&Lease::default()), Found::Free);
    }

    #[test]
    fn the_same_image_is_shared_and_another_is_taken_over() {
        assert_eq!(
            found(&mk_lease("one", 'b', "2026-01-01T00:00:10.000000Z")),
            Found::Shared("one".to_owned())
        );
        let other = Found::Other { holder: "one".to_owned(), wanted: mk_image('c') };
        assert_eq!(found(&mk_lease("one", 'c', "2026-01-01T00:00:10.000000Z")), other);
    }

    #[test]
    fn clocks_that_differ_neither_lose_a_lease_nor_keep_one_for_ever() {
        // The holder's clock is ahead: it counts as alive, and is superseded or joined like any other.
        assert_eq!(
            found(&mk_lease("one", 'b', "2026-01-01T01:00:00.000000Z")),
            Found::Shared("one".to_owned())
        );
        assert!(matches!(found(&mk_lease("one", 'c', "2026-01-01T01:00:00.000000Z")), Found::Other { .. }));
        // It is behind: it counts as gone, and hears of who took the Lease all the same.
        assert_eq!(found(&mk_lease("one", 'c', "2026-01-01T00:00:00.000000Z")), Found::Free);
        let took = mk_lease("two", 'b', "2026-01-01T00:00:30.000000Z");
        assert_eq!(taken(&took, &mk_image('c')), Some((mk_image('b'), "two".to_owned())));
    }

    #[test]
    fn a_run_hears_that_another_image_is_wanted_and_not_that_its_own_is() {
        let lease = mk_lease("two", 'c', "2026-01-01T00:00:10.000000Z");
        assert_eq!(taken(&lease, &mk_image('b')), Some((mk_image('c'), "two".to_owned())));
        assert_eq!(taken(&lease, &mk_image('c')), None);
        assert_eq!(taken(&Lease::default(), &mk_image('c')), None);
    }

    #[test]
    fn a_lease_is_taken_only_as_it_was_read() {
        let operations = take(&mk_lease("one", 'c', "2026-01-01T00:00:10.000000Z"), "two", &mk_image('b'));
        let patch: json_patch::Patch = serde_json::from_value(operations).unwrap();
        let mut lease = serde_json::to_value(mk_lease("one", 'c', "2026-01-01T00:00:10.000000Z")).unwrap();
        json_patch::patch(&mut lease, &patch).unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], json!("two"));
        assert_eq!(lease["metadata"]["annotations"][WANTED], json!(mk_image('b')));
        let mut moved = lease.clone();
        moved["metadata"]["resourceVersion"] = json!("6");
        assert!(json_patch::patch(&mut moved, &patch).is_err());
    }
}
