//! Rolls several workloads, a few at a time, and begins no further one when one has failed. Which
//! workloads a selector means is found out here too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures::stream::{FuturesUnordered, StreamExt};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};

use super::{Site, roll};
use crate::cluster::{self, Cluster};
use crate::rollout::observe::labels;
use crate::rollout::report::Reporter;
use crate::rollout::several::Ended;
use crate::rollout::{Kind, Order, Target};

/// How many of a namespace's labels are worth telling.
const LABELS_SHOWN: usize = 12;

/// Rolls all of `targets`, at most `at_once` at a time. Each tells what happens to its own reporter.
pub async fn roll_all<'a>(
    site: &Site<'a>,
    targets: &[(Target, Box<dyn Reporter>)],
    order: &Order,
    at_once: usize,
) -> Ended {
    let mut waiting: VecDeque<&(Target, Box<dyn Reporter>)> = targets.iter().collect();
    let mut ended = Ended::default();
    let mut running = FuturesUnordered::new();
    let mut has_failed = false;
    loop {
        while !has_failed
            && running.len() < at_once.max(1)
            && let Some((target, reporter)) = waiting.pop_front()
        {
            running.push(async move {
                let site = Site {
                    cluster: site.cluster,
                    registry: site.registry,
                    log: site.log,
                    reporter: reporter.as_ref(),
                    interrupted: site.interrupted.clone(),
                };
                (target.name.clone(), roll(&site, target, order).await)
            });
        }
        let Some((name, report)) = running.next().await else { break };
        has_failed |= report.running().is_none();
        ended.reports.push((name, report));
    }
    ended.not_begun = waiting.into_iter().map(|(target, _)| target.name.clone()).collect();
    ended
}

/// Returns the names of the workloads that have these labels.
///
/// # Errors
///
/// When there is none, with the labels that there are.
pub async fn select(
    cluster: &Cluster,
    namespace: &str,
    kind: Kind,
    selector: &str,
) -> Result<Vec<String>, cluster::Error> {
    let chosen = list(cluster, namespace, kind, Some(selector)).await?;
    let names: BTreeSet<String> = chosen.into_iter().filter_map(|metadata| metadata.name).collect();
    if !names.is_empty() {
        return Ok(names.into_iter().collect());
    }
    let all = list(cluster, namespace, kind, None).await.unwrap_or_default();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for metadata in &all {
        for (key, value) in labels(metadata) {
            *known.entry(format!("{key}={value}")).or_default() += 1;
        }
    }
    // What many share is what somebody may have meant.
    let mut known: Vec<(String, usize)> = known.into_iter().collect();
    known.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let labels = known.into_iter().take(LABELS_SHOWN).map(|(label, _)| label).collect();
    Err(cluster::Error::NothingSelected {
        kind: kind.title(),
        namespace: namespace.to_owned(),
        selector: selector.to_owned(),
        labels,
    })
}

async fn list(
    cluster: &Cluster,
    namespace: &str,
    kind: Kind,
    selector: Option<&str>,
) -> Result<Vec<ObjectMeta>, cluster::Error> {
    match kind {
        Kind::Deployment => metadata::<Deployment>(cluster, namespace, kind, selector).await,
        Kind::StatefulSet => metadata::<StatefulSet>(cluster, namespace, kind, selector).await,
        Kind::DaemonSet => metadata::<DaemonSet>(cluster, namespace, kind, selector).await,
    }
}

async fn metadata<K>(
    cluster: &Cluster,
    namespace: &str,
    kind: Kind,
    selector: Option<&str>,
) -> Result<Vec<ObjectMeta>, cluster::Error>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(cluster.client.clone(), namespace);
    let parameters = selector.map_or_else(ListParams::default, |text| ListParams::default().labels(text));
    let doing = format!("list {}s in `{namespace}`", kind.word());
    let listed = api.list_metadata(&parameters).await;
    let listed = listed.map_err(|error| cluster.describe(error, &doing))?;
    Ok(listed.items.into_iter().map(|item| item.metadata).collect())
}
