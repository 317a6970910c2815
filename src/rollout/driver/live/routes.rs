//! Which Services of the namespace matter to the workload: listed once and remembered, so that a
//! hundred others cost one request and no memory. A Service that ever mattered stays watched: a pod
//! that was taken out of it does not match it any more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::ListParams;

use super::Place;
use crate::cluster;
use crate::rollout::Kind;
use crate::rollout::observe::{Routing, Snapshot, is_detached, labels};

/// The Services that matter, shared by all looks of a rollout.
#[derive(Clone, Default)]
pub(in crate::rollout::driver) struct Routes(Arc<Mutex<Known>>);

#[derive(Clone, Default)]
struct Known {
    /// `None` until asked; then `None` inside where the credentials may not list Services.
    services: Option<Option<Vec<Service>>>,
    /// The names of all that ever mattered.
    names: BTreeSet<String>,
    /// `None` until asked; then `None` inside where the credentials may not list network policies.
    policies: Option<Option<Vec<NetworkPolicy>>>,
}

impl Routes {
    /// Has the next look list the Services anew, and what says which label takes pods out of them.
    pub(super) fn ask_again(&self) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (known.services, known.policies) = (None, None);
    }

    fn known(&self) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, known: Known) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

impl Place {
    /// Reads who routes to the pods of `look`; `None` where the credentials may not.
    pub(super) async fn routing(&self, look: &Snapshot) -> Result<Option<Routing>, cluster::Error> {
        let Some(services) = self.services(look).await? else { return Ok(None) };
        let policies = self.policies(&services).await?;
        // Without a Service there is nobody to ask about, but whether one may ask is still told.
        let asked = query(&services);
        let parameters = asked
            .as_ref()
            .map_or_else(|| ListParams::default().limit(1), |query| ListParams::default().labels(query));
        let slices = forbidden_as_none(self.list::<EndpointSlice>(&parameters).await)?;
        let slices = slices.map(|slices| if asked.is_some() { slices } else { Vec::new() });
        Ok(slices.map(|slices| Routing { services, slices, policies }))
    }

    async fn services(&self, look: &Snapshot) -> Result<Option<Vec<Service>>, cluster::Error> {
        let mut known = self.routes.known();
        if let Some(services) = known.services {
            return Ok(services);
        }
        let listed = forbidden_as_none(self.list::<Service>(&ListParams::default()).await)?;
        known.services = Some(listed.map(|all| {
            known.names.extend(names(look, &all));
            all.into_iter().filter(|service| known.names.contains(&service.name_any())).collect()
        }));
        self.routes.keep(known.clone());
        Ok(known.services.flatten())
    }

    /// Lists the network policies where pods may come to be taken out of these Services.
    async fn policies(&self, services: &[Service]) -> Result<Option<Vec<NetworkPolicy>>, cluster::Error> {
        if services.is_empty() || self.kind != Kind::Deployment {
            return Ok(Some(Vec::new()));
        }
        let mut known = self.routes.known();
        if known.policies.is_none() {
            known.policies =
                Some(forbidden_as_none(self.list::<NetworkPolicy>(&ListParams::default()).await)?);
            self.routes.keep(known.clone());
        }
        Ok(known.policies.flatten())
    }
}

/// Returns the names of the Services that send traffic to new or old pods. Where pods are detached
/// already, any Service may be the one that they were taken out of.
fn names(look: &Snapshot, all: &[Service]) -> BTreeSet<String> {
    if look.pods.iter().any(is_detached) {
        return all.iter().map(ResourceExt::name_any).collect();
    }
    let routing = Routing { services: all.to_vec(), ..Routing::default() };
    let routed = Snapshot { routing: Some(routing), ..look.clone() };
    let template = routed.template_labels();
    let labels = std::iter::once(&template).chain(routed.own_pods().map(|pod| labels(&pod.metadata)));
    labels.flat_map(|labels| routed.services(labels)).map(ResourceExt::name_any).collect()
}

/// Asks for the endpoints of these Services and of no other.
pub(super) fn query(services: &[Service]) -> Option<String> {
    let names: BTreeSet<String> = services.iter().map(ResourceExt::name_any).collect();
    let names: Vec<String> = names.into_iter().collect();
    (!names.is_empty()).then(|| format!("kubernetes.io/service-name in ({})", names.join(",")))
}

fn forbidden_as_none<T>(result: Result<T, cluster::Error>) -> Result<Option<T>, cluster::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.status() == Some(403) => Ok(None),
        Err(error) => Err(error),
    }
}
