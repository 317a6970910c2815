//! What the API server shows, kept up to date by watches: one each on the Deployment, its
//! ReplicaSets, its pods, the pods that were detached from it, and the endpoints of its Services.
//! It also looks afresh on request: a decision that writes is made on a list, never on a watch alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt};

use crate::cluster::{self, Cluster};
use crate::rollout::annotations::DETACHED;
use crate::rollout::observe::{Routing, Snapshot, is_detached, labels};

/// Where a Deployment's things are.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) cluster: Cluster,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) container: String,
    pub(super) others: Vec<String>,
    /// The Deployment's selector, as the API wants it in a query.
    pub(super) selector: String,
}

impl Place {
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    fn detached_selector(&self) -> String {
        format!("{DETACHED}={}", self.name)
    }

    /// Lists everything once.
    pub(super) async fn look(&self) -> Result<Snapshot, cluster::Error> {
        let doing = format!("get deployment `{}/{}`", self.namespace, self.name);
        let deployment: Deployment = self
            .api::<Deployment>()
            .get(&self.name)
            .await
            .map_err(|error| self.cluster.describe(error, &doing))?;
        let owned = ListParams::default().labels(&self.selector);
        let marked = ListParams::default().labels(&self.detached_selector());
        let replica_sets = self.list::<ReplicaSet>(&owned).await?;
        let mut pods = self.list::<Pod>(&owned).await?;
        pods.extend(self.list::<Pod>(&marked).await?);
        Ok(Snapshot {
            deployment,
            container: self.container.clone(),
            others: self.others.clone(),
            replica_sets,
            pods: unique(pods),
            routing: self.routing().await?,
        })
    }

    /// Reads who routes to pods; `None` where the credentials may not.
    async fn routing(&self) -> Result<Option<Routing>, cluster::Error> {
        let everything = ListParams::default();
        let services = forbidden_as_none(self.list::<Service>(&everything).await)?;
        let slices = forbidden_as_none(self.list::<EndpointSlice>(&everything).await)?;
        Ok(services.zip(slices).map(|(services, slices)| Routing { services, slices }))
    }

    async fn list<K>(&self, parameters: &ListParams) -> Result<Vec<K>, cluster::Error>
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

fn forbidden_as_none<T>(result: Result<T, cluster::Error>) -> Result<Option<T>, cluster::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.status() == Some(403) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One kind's objects by name, as a watch tells of them.
struct Store<K> {
    objects: BTreeMap<String, K>,
    relisted: BTreeMap<String, K>,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), relisted: BTreeMap::new() }
    }
}

impl<K: ResourceExt> Store<K> {
    fn apply(&mut self, event: Event<K>) {
        match event {
            Event::Apply(object) => drop(self.objects.insert(object.name_any(), object)),
            Event::Delete(object) => drop(self.objects.remove(&object.name_any())),
            Event::Init => self.relisted.clear(),
            Event::InitApply(object) => drop(self.relisted.insert(object.name_any(), object)),
            Event::InitDone => self.objects = std::mem::take(&mut self.relisted),
        }
    }
}

enum Seen {
    Deployment(Event<Deployment>),
    ReplicaSet(Event<ReplicaSet>),
    Pod(Event<Pod>),
    Detached(Event<Pod>),
    Slice(Event<EndpointSlice>),
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
        let marked = watcher::Config::default().labels(&place.detached_selector());
        let itself = watcher::Config::default().fields(&format!("metadata.name={}", place.name));
        let mut seen = SelectAll::new();
        seen.push(watch(place, itself, Seen::Deployment));
        seen.push(watch(place, owned.clone(), Seen::ReplicaSet));
        seen.push(watch(place, owned, Seen::Pod));
        seen.push(watch(place, marked, Seen::Detached));
        if let Some(query) = slices_query(&base) {
            seen.push(watch(place, watcher::Config::default().labels(&query), Seen::Slice));
        }
        let mut live = Self {
            place: place.clone(),
            deployments: Store::default(),
            replica_sets: Store::default(),
            pods: Store::default(),
            detached: Store::default(),
            slices: Store::default(),
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
        self.lost = None;
        if let Seen::Pod(Event::Delete(pod)) | Seen::Detached(Event::Delete(pod)) = &seen {
            self.gone.push(pod.clone());
        }
        match seen {
            Seen::Deployment(event) => self.deployments.apply(event),
            Seen::ReplicaSet(event) => self.replica_sets.apply(event),
            Seen::Pod(event) => self.pods.apply(event),
            Seen::Detached(event) => self.detached.apply(event),
            Seen::Slice(event) => self.slices.apply(event),
            Seen::Lost(_) => {}
        }
    }

    /// Returns the last states of the pods that went since this was asked: the end of a container and the
    /// end of its pod come so close to each other that no picture may show the first.
    pub(super) fn gone(&mut self) -> Vec<Pod> {
        std::mem::take(&mut self.gone)
    }

    /// Returns the picture as it is now. A Deployment that is not there has no uid.
    pub(super) fn snapshot(&self) -> Snapshot {
        let pods = self.pods.objects.values().chain(self.detached.objects.values()).cloned();
        let routing = self.base.routing.as_ref().map(|routing| Routing {
            services: routing.services.clone(),
            slices: self.slices.objects.values().cloned().collect(),
        });
        Snapshot {
            deployment: self.deployments.objects.get(&self.place.name).cloned().unwrap_or_default(),
            container: self.place.container.clone(),
            others: self.place.others.clone(),
            replica_sets: self.replica_sets.objects.values().cloned().collect(),
            pods: unique(pods.collect()),
            routing,
        }
    }

    /// Takes over what a fresh look showed, so that the picture is not older than the last decision.
    pub(super) fn refresh(&mut self, fresh: &Snapshot) {
        self.deployments = store([fresh.deployment.clone()]);
        self.replica_sets = store(fresh.replica_sets.clone());
        // A pod that lost the label of the selector is told of by the watch on marked pods alone.
        let (marked, owned): (Vec<Pod>, Vec<Pod>) = fresh.pods.iter().cloned().partition(is_detached);
        self.pods = store(owned);
        self.detached = store(marked);
        self.base.routing.clone_from(&fresh.routing);
        if let Some(routing) = &fresh.routing {
            self.slices = store(routing.slices.clone());
        }
    }
}

fn store<K: ResourceExt>(objects: impl IntoIterator<Item = K>) -> Store<K> {
    let objects = objects.into_iter().map(|object| (object.name_any(), object)).collect();
    Store { objects, relisted: BTreeMap::new() }
}

/// Asks for the endpoints of the Services that select new or old pods, and of no other.
fn slices_query(base: &Snapshot) -> Option<String> {
    base.routing.as_ref()?;
    let template = base.template_labels();
    let all = std::iter::once(&template).chain(base.own_pods().map(|pod| labels(&pod.metadata)));
    let names: BTreeSet<String> =
        all.flat_map(|labels| base.services(labels)).map(ResourceExt::name_any).collect();
    let names: Vec<String> = names.into_iter().collect();
    (!names.is_empty()).then(|| format!("kubernetes.io/service-name in ({})", names.join(",")))
}

fn watch<K>(
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
    let cluster = place.cluster.clone();
    let doing = format!("watch {}", K::plural(&K::DynamicType::default()));
    let events = watcher(place.api::<K>(), config).default_backoff();
    events
        .map(move |event| match event {
            Ok(event) => wrap(event),
            Err(error) => Seen::Lost(cluster.describe_watch(error, &doing).to_string()),
        })
        .boxed()
}
