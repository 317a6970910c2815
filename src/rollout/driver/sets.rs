//! StatefulSets and DaemonSets at the API server: read, watched and patched, and shown as what stands
//! in for them.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::watcher::{self, Event};

use super::live::{Place, Seen, Store, watch, watch_api};
use super::{Rollout, workload};
use crate::cluster::{self, Cluster};
use crate::rollout::observe::Snapshot;
use crate::rollout::sets::{Look, Set, words};
use crate::rollout::{Error, Kind, Target};

/// Reads the set; one that is not there is told with the names of those that are.
pub(super) async fn find(cluster: &Cluster, target: &Target) -> Result<Set, Error> {
    Ok(match target.kind {
        Kind::DaemonSet => Set::Daemon(Box::new(workload::<DaemonSet>(cluster, target).await?)),
        _ => Set::Stateful(Box::new(workload::<StatefulSet>(cluster, target).await?)),
    })
}

/// What watches tell of a set, beside its pods and endpoints.
pub(super) enum SeenSet {
    Stateful(Event<StatefulSet>),
    Daemon(Event<DaemonSet>),
    Revision(Event<ControllerRevision>),
    Node(Event<Node>),
}

/// The watched picture of a set, beside its pods and endpoints.
pub(super) struct Stores {
    kind: Kind,
    stateful: Store<StatefulSet>,
    daemon: Store<DaemonSet>,
    /// `None` where the credentials may not read them.
    revisions: Option<Store<ControllerRevision>>,
    nodes: Option<Store<Node>>,
    server: Option<(u32, u32)>,
}

impl Stores {
    /// Starts from what one look showed.
    pub(super) fn of(look: &Look) -> Self {
        let mut stores = Self {
            kind: look.set.kind(),
            stateful: Store::default(),
            daemon: Store::default(),
            revisions: None,
            nodes: None,
            server: look.server,
        };
        stores.refresh(look);
        stores
    }

    /// Takes over what a fresh look showed.
    pub(super) fn refresh(&mut self, look: &Look) {
        match &look.set {
            Set::Stateful(set) => self.stateful = Store::of([set.as_ref().clone()]),
            Set::Daemon(set) => self.daemon = Store::of([set.as_ref().clone()]),
        }
        self.revisions = look.revisions.clone().map(Store::of);
        self.nodes = look.nodes.clone().map(Store::of);
    }

    pub(super) fn take(&mut self, seen: SeenSet) {
        match seen {
            SeenSet::Stateful(event) => self.stateful.apply(event),
            SeenSet::Daemon(event) => self.daemon.apply(event),
            SeenSet::Revision(event) => self.revisions.get_or_insert_default().apply(event),
            SeenSet::Node(event) => self.nodes.get_or_insert_default().apply(event),
        }
    }

    /// Returns the picture as it is now. A set that is not there has no uid.
    pub(super) fn look(&self, name: &str, pods: Vec<Pod>) -> Look {
        let set = match self.kind {
            Kind::DaemonSet => Set::Daemon(self.daemon.get(name).map(Box::new).unwrap_or_default()),
            _ => Set::Stateful(self.stateful.get(name).map(Box::new).unwrap_or_default()),
        };
        let revisions = self.revisions.as_ref().map(Store::all);
        Look {
            set,
            revisions,
            pods,
            nodes: self.nodes.as_ref().map(Store::all),
            server: self.server,
            revision: String::new(),
        }
    }

    /// Starts the watches. What the credentials could not list is not watched either.
    pub(super) fn watches(&self, place: &Place) -> Vec<futures::stream::BoxStream<'static, Seen>> {
        let itself = watcher::Config::default().fields(&format!("metadata.name={}", place.name));
        let owned = watcher::Config::default().labels(&place.selector);
        let mut all = vec![match self.kind {
            Kind::DaemonSet => watch(place, itself, |event| Seen::Set(SeenSet::Daemon(event))),
            _ => watch(place, itself, |event| Seen::Set(SeenSet::Stateful(event))),
        }];
        if self.revisions.is_some() {
            all.push(watch(place, owned, |event| Seen::Set(SeenSet::Revision(event))));
        }
        if self.nodes.is_some() {
            let nodes: Api<Node> = Api::all(place.cluster.client.clone());
            let wrap = |event| Seen::Set(SeenSet::Node(event));
            all.push(watch_api(&place.cluster, nodes, watcher::Config::default(), wrap));
        }
        all
    }
}

impl Place {
    /// Lists everything of a set once.
    pub(super) async fn look_at_set(&self) -> Result<Look, cluster::Error> {
        let set = self.read_set().await?;
        let owned = ListParams::default().labels(&self.selector);
        let pods = self.list::<Pod>(&owned).await?;
        let revisions = if self.kind == Kind::DaemonSet {
            // Nothing else tells which of its pods are the new ones.
            Some(self.list::<ControllerRevision>(&owned).await?)
        } else {
            self.list::<ControllerRevision>(&owned).await.ok()
        };
        let nodes = if self.kind == Kind::DaemonSet {
            let nodes: Api<Node> = Api::all(self.cluster.client.clone());
            nodes.list(&ListParams::default()).await.ok().map(|list| list.items)
        } else {
            None
        };
        Ok(Look { set, revisions, pods, nodes, server: server(&self.cluster), revision: String::new() })
    }

    async fn read_set(&self) -> Result<Set, cluster::Error> {
        let doing = format!("get {} `{}/{}`", self.kind.word(), self.namespace, self.name);
        let read = match self.kind {
            Kind::DaemonSet => self.api::<DaemonSet>().get(&self.name).await.map(Box::new).map(Set::Daemon),
            _ => self.api::<StatefulSet>().get(&self.name).await.map(Box::new).map(Set::Stateful),
        };
        read.map_err(|error| self.cluster.describe(error, &doing))
    }

    /// Patches a set, and returns what stands in for it without its pods.
    pub(super) async fn patch_set(
        &self,
        parameters: &PatchParams,
        patch: &Patch<()>,
    ) -> kube::Result<Deployment> {
        let set = match self.kind {
            Kind::DaemonSet => {
                Set::Daemon(Box::new(self.api::<DaemonSet>().patch(&self.name, parameters, patch).await?))
            }
            _ => {
                Set::Stateful(Box::new(self.api::<StatefulSet>().patch(&self.name, parameters, patch).await?))
            }
        };
        let look = Look {
            set,
            revisions: None,
            pods: Vec::new(),
            nodes: None,
            server: None,
            revision: String::new(),
        };
        Ok(look.stand_in(&self.container, &self.others, None).deployment)
    }
}

impl Rollout<'_> {
    /// Refuses a set that a new image would not roll, and says which of its pods are not rolled.
    pub(super) fn look_over(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let Some(look) = &snapshot.set else { return Ok(()) };
        words::check(look).map_err(Error::Preflight)?;
        if self.order.canary.is_some() {
            return Err(Error::Preflight(words::no_canary(look)));
        }
        if let Some(exceptions) = words::exceptions(look) {
            self.say(&format!("note: {exceptions}"));
        }
        Ok(())
    }
}

/// Returns the API server's version as two numbers.
fn server(cluster: &Cluster) -> Option<(u32, u32)> {
    let version = cluster.version.as_deref()?.trim_start_matches('v');
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

impl<K: ResourceExt + Clone> Store<K> {
    fn get(&self, name: &str) -> Option<K> {
        self.objects.get(name).cloned()
    }

    fn all(&self) -> Vec<K> {
        self.objects.values().cloned().collect()
    }
}
