//! What the API server can list: nodes, the namespace's quotas, budgets, autoscalers, claims and
//! ingresses, the objects that the new template names, and custom resources that claim the workload.

use std::collections::BTreeSet;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{
    ConfigMap, Node, PersistentVolumeClaim, Pod, PodSpec, Secret, ServiceAccount,
};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::Resource;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde::de::DeserializeOwned;

use super::Surveyor;
use crate::rollout::preflight::facts::{Asked, Claim, Reference, Survey, new_template};
use crate::rollout::preflight::references;

/// More nodes or pods than this are not read: arithmetic about room is not worth the memory.
const MOST: u32 = 500;

/// Kinds with a mind of their own about a workload: group, version, kind.
const CLAIMANTS: &[(&str, &str, &str)] = &[
    ("flagger.app", "v1beta1", "Canary"),
    ("argoproj.io", "v1alpha1", "Rollout"),
    ("autoscaling.k8s.io", "v1", "VerticalPodAutoscaler"),
];

impl Surveyor<'_> {
    pub(super) async fn nodes(&self) -> Asked<Vec<Node>> {
        self.some(Api::all(self.place.cluster.client.clone()), "list nodes", &ListParams::default()).await
    }

    /// Reads the pods of all namespaces that still use their node.
    pub(super) async fn node_pods(&self) -> Asked<Vec<Pod>> {
        let using = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
        let api: Api<Pod> = Api::all(self.place.cluster.client.clone());
        self.some(api, "list pods of all namespaces", &using).await
    }

    /// Reads what the namespace has.
    pub(super) async fn namespace(&self) -> Survey {
        let (quotas, limit_ranges, autoscalers, budgets, claims, ingresses) = futures::join!(
            self.all("list resourcequotas"),
            self.all("list limitranges"),
            self.all("list horizontalpodautoscalers"),
            self.all("list poddisruptionbudgets"),
            self.all("list persistentvolumeclaims"),
            self.all("list ingresses"),
        );
        Survey { quotas, limit_ranges, autoscalers, budgets, claims, ingresses, ..Survey::default() }
    }

    async fn all<K>(&self, what: &str) -> Asked<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        self.some(self.place.api::<K>(), what, &ListParams::default()).await
    }

    /// Lists up to a bound that only a list beyond every use exceeds.
    async fn some<K>(&self, api: Api<K>, what: &str, parameters: &ListParams) -> Asked<Vec<K>>
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let bounded = parameters.clone().limit(MOST);
        match self.ask(what, api.list(&bounded)).await {
            Asked::Unknown(why) => Asked::Unknown(why),
            Asked::Known(list) if list.metadata.continue_.as_ref().is_some_and(|more| !more.is_empty()) => {
                Asked::Unknown(format!("{what} (more than {MOST})"))
            }
            Asked::Known(list) => Asked::Known(list.items),
        }
    }

    /// Looks for each object that the new template names. Of those whose keys are named the keys are kept,
    /// and of none the content.
    pub(super) async fn references(&self) -> Vec<Reference> {
        let spec: PodSpec = new_template(self.snapshot, self.order).spec.unwrap_or_default();
        let named = references::named(&spec);
        let looks = named.into_iter().map(async |((kind, name), needed)| {
            let (there, lacks) = if needed.keys.is_empty() {
                (self.is_there(kind, &name).await, Vec::new())
            } else {
                match self.keys(kind, &name).await {
                    Asked::Known(Some(has)) => {
                        (Asked::Known(true), needed.keys.difference(&has).cloned().collect())
                    }
                    Asked::Known(None) => (Asked::Known(false), Vec::new()),
                    Asked::Unknown(why) => (Asked::Unknown(why), Vec::new()),
                }
            };
            Reference { kind, name, there, lacks, only_pulls: needed.only_pulls }
        });
        futures::future::join_all(looks).await
    }

    /// Returns the keys that a config map or secret has; `None` inside where it is not there.
    async fn keys(&self, kind: &str, name: &str) -> Asked<Option<BTreeSet<String>>> {
        let keys = async {
            Ok(if kind == "secret" {
                let secret = self.place.api::<Secret>().get_opt(name).await?;
                secret.map(|secret| secret.data.unwrap_or_default().into_keys().collect())
            } else {
                let map = self.place.api::<ConfigMap>().get_opt(name).await?;
                map.map(|map| {
                    let text = map.data.unwrap_or_default().into_keys();
                    text.chain(map.binary_data.unwrap_or_default().into_keys()).collect()
                })
            })
        };
        self.ask(&format!("get {kind}s"), keys).await
    }

    async fn is_there(&self, kind: &'static str, name: &str) -> Asked<bool> {
        let client = || self.place.cluster.client.clone();
        match kind {
            "secret" => self.has(self.place.api::<Secret>(), kind, name).await,
            "configmap" => self.has(self.place.api::<ConfigMap>(), kind, name).await,
            "serviceaccount" => self.has(self.place.api::<ServiceAccount>(), kind, name).await,
            "persistentvolumeclaim" => self.has(self.place.api::<PersistentVolumeClaim>(), kind, name).await,
            "priorityclass" => self.has(Api::<PriorityClass>::all(client()), kind, name).await,
            "runtimeclass" => self.has(Api::<RuntimeClass>::all(client()), kind, name).await,
            _ => Asked::default(),
        }
    }

    async fn has<K>(&self, api: Api<K>, kind: &str, name: &str) -> Asked<bool>
    where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let plural = if kind.ends_with('s') { format!("{kind}es") } else { format!("{kind}s") };
        let asked = self.ask(&format!("get {plural}"), api.get_metadata_opt(name)).await;
        match asked {
            Asked::Known(found) => Asked::Known(found.is_some()),
            Asked::Unknown(why) => Asked::Unknown(why),
        }
    }

    /// Finds custom resources that claim the workload; kinds that the API server does not serve cost nothing.
    pub(super) async fn claims(&self) -> Asked<Vec<Claim>> {
        let what = "list API groups";
        let groups = match self.ask(what, self.place.cluster.client.list_api_groups()).await {
            Asked::Known(groups) => groups.groups,
            Asked::Unknown(why) => return Asked::Unknown(why),
        };
        let served = CLAIMANTS.iter().filter(|(group, ..)| groups.iter().any(|it| it.name == *group));
        let lists = served.map(|(group, version, kind)| self.claimants(group, version, kind));
        let mut claims = Vec::new();
        for found in futures::future::join_all(lists).await {
            match found {
                Asked::Known(found) => claims.extend(found),
                Asked::Unknown(why) => return Asked::Unknown(why),
            }
        }
        Asked::Known(claims)
    }

    async fn claimants(&self, group: &str, version: &str, kind: &str) -> Asked<Vec<Claim>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let client = self.place.cluster.client.clone();
        let api: Api<DynamicObject> = Api::namespaced_with(client, &self.place.namespace, &resource);
        let what = format!("list {}", resource.plural);
        match self.ask(&what, api.list(&ListParams::default().limit(MOST))).await {
            Asked::Known(list) => {
                let claims = list.items.iter().filter_map(|item| {
                    let name = item.metadata.name.clone().unwrap_or_default();
                    let workload = (self.place.kind.title(), self.place.name.as_str());
                    references::claim(kind, &name, &item.data, workload)
                });
                Asked::Known(claims.collect())
            }
            // The group is served, but not this kind of it: nobody claims anything.
            Asked::Unknown(why) if why.ends_with("(404)") => Asked::Known(Vec::new()),
            Asked::Unknown(why) => Asked::Unknown(why),
        }
    }
}
