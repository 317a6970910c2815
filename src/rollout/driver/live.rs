//! What the API server shows, kept up to date by watches: one each on the Deployment, its
//! ReplicaSets, its pods, the pods that were detached from it, the endpoints of its Services, and the
//! namespace's events. It also looks afresh on request: a decision that writes is made on a list,
//! never on a watch alone. What it costs does not depend on who else lives in the namespace.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt};

pub(super) use self::notices::Notices;
use self::notices::Told;
pub(super) use self::routes::Routes;
use super::sets::{SeenSet, Stores};
pub(super) use crate::cluster::Store;
use crate::cluster::{self, Cluster};
use crate::rollout::Kind;
use crate::rollout::annotations::DETACHED;
use crate::rollout::observe::{Routing, Snapshot, is_detached};
use crate::rollout::plan::drain::LONGEST_LABEL;
use crate::rollout::plan::step::Step;

mod notices;
mod routes;

/// Where a Deployment's things are.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) cluster: Cluster,
    pub(super) namespace: String,
    pub(super) kind: Kind,
    /// Whether new pods may run beside old ones.
    pub(super) surges: bool,
    pub(super) name: String,
    pub(super) container: String,
    pub(super) others: Vec<String>,
    /// The Deployment's selector, as the API wants it in a query.
    pub(super) selector: String,
    /// Which Services matter here, found out once.
    pub(super) routes: Routes,
}

impl Place {
    /// Returns the workload as kubectl names it.
    pub(super) fn address(&self) -> String {
        format!("{}/{}", self.kind.word(), self.name)
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    /// Returns the query for pods that were detached. There are none where the name is too long for a
    /// label, and the API server refuses to look for them.
    fn detached_selector(&self) -> Option<String> {
        (self.name.len() <= LONGEST_LABEL).then(|| format!("{DETACHED}={}", self.name))
    }

    /// Lists everything once.
    pub(super) async fn look(&self) -> Result<Snapshot, cluster::Error> {
        if self.kind != Kind::Deployment {
            let look = self.look_at_set().await?;
            let snapshot = look.stand_in(&self.container, &self.others, None);
            let routing = self.routing(&snapshot).await?;
            return Ok(Snapshot { routing, ..snapshot });
        }
        let doing = format!("get deployment `{}/{}`", self.namespace, self.name);
        let deployment: Deployment = self
            .api::<Deployment>()
            .get(&self.name)
            .await
            .map_err(|error| self.cluster.describe(error, &doing))?;
        let owned = ListParams::default().labels(&self.selector);
        let replica_sets = self.list::<ReplicaSet>(&owned).await?;
        let mut pods = self.list::<Pod>(&owned).await?;
        if let Some(marked) = self.detached_selector() {
            pods.extend(self.list::<Pod>(&ListParams::default().labels(&marked)).await?);
        }
        let (container, others) = (self.container.clone(), self.others.clone());
        let pods = unique(pods);
        let look = Snapshot { deployment, container, others, replica_sets, pods, routing: None, set: None };
        let routing = self.routing(&look).await?;
        Ok(Snapshot { routing, ..look })
    }

    /// Lists everything once before `step`. What takes pods out of Services is decided on the
    /// Services of that moment: one may have been added since the start.
    pub(super) async fn look_before(&self, step: &Step) -> Result<Snapshot, cluster::Error> {
        if matches!(step, Step::Orphan(_) | Step::Detach(_)) {
            self.routes.ask_again();
        }
        self.look().await
    }

    pub(super) async fn list<K>(&self, parameters: &ListParams) -> Result<Vec<K>, cluster::Error>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let doing = format!("list {} in `{}`", K::plural(&K::DynamicType::default()), self.namespace);
        let listed = self.api::<K>().list(parameters).await;
        listed.map(|list| list.items).map_err(|error| self.cluster.describe(error, &doing))
    }
}

fn unique(pods: Vec<Pod>) -> Vec<Pod> {
    let by_uid: BTreeMap<String, Pod> =
        pods.into_iter().map(|pod| (pod.uid().unwrap_or_default(), pod)).collect();
    by_uid.into_values().collect()
}

pub(super) enum Seen {
    Set(SeenSet),
    Deployment(Event<Deployment>),
    ReplicaSet(Event<ReplicaSet>),
    Pod(Event<Pod>),
    Detached(Event<Pod>),
    /// The endpoints of the Services that one query names; there is one query at a time.
    Slice(String, Event<EndpointSlice>),
    Told(Box<Told>),
    Lost(String),
}

/// The watched picture.
pub(super) struct Live {
    place: Place,
    base: Snapshot,
    deployments: Store<Deployment>,
    replica_sets: Store<ReplicaSet>,
    pods: Store<Pod>,
    detached: Store<Pod>,
    slices: Store<EndpointSlice>,
    /// The query that the watch on endpoints was made with.
    query: Option<String>,
    /// What events tell of the workload.
    pub(super) notices: Notices,
    /// Where it is not a Deployment.
    set: Option<Stores>,
    seen: SelectAll<BoxStream<'static, Seen>>,
    /// The last states of pods that are no longer there, since they were last asked for.
    gone: Vec<Pod>,
    /// Since when the watches fail, and with what; `None` while they work.
    pub(super) lost: Option<(Instant, String)>,
}

impl Live {
    /// Starts to watch, from what one look showed.
    pub(super) fn start(place: &Place, base: Snapshot) -> Self {
        let owned = watcher::Config::default().labels(&place.selector);
        let itself = watcher::Config::default().fields(&format!("metadata.name={}", place.name));
        let mut seen = SelectAll::new();
        let set = base.set.as_deref().map(Stores::of);
        if let Some(set) = &set {
            seen.extend(set.watches(place));
        } else {
            seen.push(watch(place, itself, Seen::Deployment));
            seen.push(watch(place, owned.clone(), Seen::ReplicaSet));
            if let Some(marked) = place.detached_selector() {
                seen.push(watch(place, watcher::Config::default().labels(&marked), Seen::Detached));
            }
        }
        seen.push(watch(place, owned, Seen::Pod));
        seen.push(notices::watch(place).map(|told| Seen::Told(Box::new(told))).boxed());
        let mut live = Self {
            place: place.clone(),
            deployments: Store::default(),
            replica_sets: Store::default(),
            pods: Store::default(),
            detached: Store::default(),
            slices: Store::default(),
            query: None,
            notices: Notices::default(),
            set,
            base: base.clone(),
            seen,
            gone: Vec::new(),
            lost: None,
        };
        live.refresh(&base);
        live
    }

    /// Waits for a change and takes in all that have come.
    pub(super) async fn changed(&mut self) {
        if let Some(seen) = self.seen.next().await {
            self.take(seen);
        }
        while let Some(Some(seen)) = futures::FutureExt::now_or_never(self.seen.next()) {
            self.take(seen);
        }
    }

    fn take(&mut self, seen: Seen) {
        if let Seen::Lost(why) = seen {
            self.lost =
                Some(self.lost.take().map_or((Instant::now(), why.clone()), |(since, _)| (since, why)));
            return;
        }
        if let Seen::Told(told) = seen {
            self.notices.hear(*told);
            return;
        }
        self.lost = None;
        if let Seen::Pod(Event::Delete(pod)) | Seen::Detached(Event::Delete(pod)) = &seen {
            self.gone.push(pod.clone());
        }
        match seen {
            Seen::Set(seen) => {
                if let Some(set) = &mut self.set {
                    set.take(seen);
                }
            }
            Seen::Deployment(event) => self.deployments.apply(event),
            Seen::ReplicaSet(event) => self.replica_sets.apply(event),
            Seen::Pod(event) => self.pods.apply(event),
            Seen::Detached(event) => self.detached.apply(event),
            Seen::Slice(query, event) if self.query.as_ref() == Some(&query) => self.slices.apply(event),
            Seen::Slice(..) | Seen::Told(_) | Seen::Lost(_) => {}
        }
    }

    /// Returns the last states of the pods that went since this was asked: the end of a container and the
    /// end of its pod come so close to each other that no picture may show the first.
    pub(super) fn gone(&mut self) -> Vec<Pod> {
        std::mem::take(&mut self.gone)
    }

    /// Returns the picture as it is now. A Deployment that is not there has no uid.
    pub(super) fn snapshot(&self) -> Snapshot {
        let pods =
            unique(self.pods.objects.values().chain(self.detached.objects.values()).cloned().collect());
        let routing = self.base.routing.as_ref().map(|routing| Routing {
            services: routing.services.clone(),
            slices: self.slices.objects.values().cloned().collect(),
            policies: routing.policies.clone(),
        });
        if let Some(set) = &self.set {
            let look = set.look(&self.place.name, pods);
            return look.stand_in(&self.place.container, &self.place.others, routing);
        }
        Snapshot {
            deployment: self.deployments.objects.get(&self.place.name).cloned().unwrap_or_default(),
            container: self.place.container.clone(),
            others: self.place.others.clone(),
            replica_sets: self.replica_sets.objects.values().cloned().collect(),
            pods,
            routing,
            set: None,
        }
    }

    /// Takes over what a fresh look showed, so that the picture is not older than the last decision.
    pub(super) fn refresh(&mut self, fresh: &Snapshot) {
        if let (Some(set), Some(look)) = (&mut self.set, &fresh.set) {
            set.refresh(look);
            self.pods = Store::of(look.pods.iter().cloned());
            self.take_routes(fresh);
            return;
        }
        self.deployments = Store::of([fresh.deployment.clone()]);
        self.replica_sets = Store::of(fresh.replica_sets.clone());
        // A pod that lost the label of the selector is told of by the watch on marked pods alone.
        let (marked, owned): (Vec<Pod>, Vec<Pod>) = fresh.pods.iter().cloned().partition(is_detached);
        self.pods = Store::of(owned);
        self.detached = Store::of(marked);
        self.take_routes(fresh);
    }

    fn take_routes(&mut self, fresh: &Snapshot) {
        self.base.routing.clone_from(&fresh.routing);
        if let Some(routing) = &fresh.routing {
            self.slices = Store::of(routing.slices.clone());
            self.watch_slices(routes::query(&routing.services));
        }
    }

    /// Watches the endpoints of other Services than so far, if they are others. The watch before
    /// goes on and is not listened to any more.
    fn watch_slices(&mut self, query: Option<String>) {
        if self.query == query {
            return;
        }
        self.query.clone_from(&query);
        if let Some(query) = query {
            let config = watcher::Config::default().labels(&query);
            let events = watch(&self.place, config, move |event| Seen::Slice(query.clone(), event));
            self.seen.push(events);
        }
    }
}

pub(super) fn watch<K>(
    place: &Place,
    config: watcher::Config,
    wrap: impl Fn(Event<K>) -> Seen + Send + 'static,
) -> BoxStream<'static, Seen>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
    K::DynamicType: Default,
{
    watch_api(&place.cluster, place.api::<K>(), config, wrap)
}

pub(super) fn watch_api<K>(
    cluster: &Cluster,
    api: Api<K>,
    config: watcher::Config,
    wrap: impl Fn(Event<K>) -> Seen + Send + 'static,
) -> BoxStream<'static, Seen>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let cluster = cluster.clone();
    let doing = format!("watch {}", K::plural(&K::DynamicType::default()));
    let events = watcher(api, config).default_backoff();
    events
        .map(move |event| match event {
            Ok(event) => wrap(event),
            Err(error) => Seen::Lost(cluster.describe_watch(error, &doing).to_string()),
        })
        .boxed()
}
