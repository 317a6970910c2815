//! Asks for what `status` puts together: a list of each kind however many workloads there are, and each
//! image once at its registry. Nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{Api, ListParams};
use secrecy::SecretString;

use crate::cluster::{self, Cluster};
use crate::failure::Failure;
use crate::image::{Digest, Platform};
use crate::log::Log;
use crate::registry::{Access, Client, Policy, Repository};
use crate::rollout::status::{Answers, Listed, Status, Told, assemble};
use crate::rollout::{Error, Kind};

/// How many kinds there are.
const KINDS: usize = 3;
/// Repositories that are asked at the same time.
const PARALLEL: usize = 4;
/// How long one question to a registry may take.
const EACH: Duration = Duration::from_secs(10);
/// How long all questions to registries may take: somebody is waiting for a table.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was listed.
#[derive(Debug, Default)]
pub struct Listing {
    /// The workloads.
    pub rows: Vec<Status>,
    /// Why those of some kinds are not among them.
    pub refused: Vec<String>,
}

/// Returns the workloads of a namespace, or of all where it is `None`: those of `kinds`, or of all kinds
/// that the credentials may list where there are none.
///
/// # Errors
///
/// When the API server does not list them.
pub async fn list(cluster: &Cluster, namespace: Option<&str>, kinds: &[Kind]) -> Result<Listing, Error> {
    let (deployments, stateful_sets, daemon_sets, replica_sets, pods) = futures::join!(
        asked::<Deployment>(cluster, namespace, kinds, Kind::Deployment),
        asked::<StatefulSet>(cluster, namespace, kinds, Kind::StatefulSet),
        asked::<DaemonSet>(cluster, namespace, kinds, Kind::DaemonSet),
        asked::<ReplicaSet>(cluster, namespace, kinds, Kind::Deployment),
        every::<Pod>(cluster, namespace),
    );
    let both = deployments.and_then(|deployments| Ok((deployments, replica_sets?)));
    let mut refusals: Vec<cluster::Error> = Vec::new();
    // Who may see Deployments often has no business with the other kinds.
    let mut let_pass = |error: cluster::Error| match error.status() {
        Some(403) if kinds.is_empty() => {
            refusals.push(error);
            Ok(())
        }
        _ => Err(error),
    };
    let mut listed = Listed { pods: pods?, ..Listed::default() };
    match both {
        Ok((deployments, replica_sets)) => {
            listed.deployments = deployments;
            listed.replica_sets = replica_sets;
        }
        Err(error) => let_pass(error)?,
    }
    match stateful_sets {
        Ok(sets) => listed.stateful_sets = sets,
        Err(error) => let_pass(error)?,
    }
    match daemon_sets {
        Ok(sets) => listed.daemon_sets = sets,
        Err(error) => let_pass(error)?,
    }
    if refusals.len() == KINDS {
        return Err(refusals.swap_remove(0).into());
    }
    let refused = refusals.into_iter().map(|error| Failure::from(error).to_string()).collect();
    Ok(Listing { rows: assemble(listed), refused })
}

/// Lists what belongs to `kind`, if it is one of those that are asked for.
async fn asked<K>(
    cluster: &Cluster,
    namespace: Option<&str>,
    kinds: &[Kind],
    kind: Kind,
) -> Result<Vec<K>, cluster::Error>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    if kinds.is_empty() || kinds.contains(&kind) { every(cluster, namespace).await } else { Ok(Vec::new()) }
}

async fn every<K>(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<K>, cluster::Error>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let client = cluster.client.clone();
    let plural = K::plural(&K::DynamicType::default()).into_owned();
    let (api, doing): (Api<K>, String) = match namespace {
        Some(namespace) => (Api::namespaced(client, namespace), format!("list {plural} in `{namespace}`")),
        None => (Api::all(client), format!("list {plural} in all namespaces")),
    };
    let listed = api.list(&ListParams::default()).await;
    listed.map(|list| list.items).map_err(|error| cluster.describe(error, &doing))
}

/// What is to be asked about one repository.
#[derive(Default)]
struct Questions {
    tags: BTreeSet<String>,
    digests: BTreeSet<Digest>,
}

/// Lets the rows learn what the registries say. A registry that does not answer leaves its columns
/// empty, and says so once.
pub async fn learn(rows: &mut [Status], access: &Access, only: Option<&str>, log: &Log) {
    let mut questions: BTreeMap<String, Questions> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.repository().is_empty()) {
        let asked = questions.entry(row.repository().to_owned()).or_default();
        asked.tags.extend(row.tag.clone());
        asked.digests.extend(row.described());
    }
    let hosts: BTreeSet<String> = questions.keys().filter_map(|repository| host(repository)).collect();
    let trusted = only.map(str::to_owned).or_else(|| hosts.first().filter(|_| hosts.len() == 1).cloned());
    if trusted.is_none() && !access.username.is_empty() {
        log.line("warning: several registries, so none gets the credentials; name it with --registry");
    }
    let asked = futures::stream::iter(questions).map(|(repository, questions)| {
        let access = access_for(access, host(&repository) == trusted);
        async move {
            let answers = ask(&repository, &questions, &access).await;
            answers.map_err(|error| format!("`{repository}`: {}", Failure::from(error)))
        }
    });
    let mut answers = Answers::default();
    let mut troubles: Vec<String> = Vec::new();
    let collect = asked.buffer_unordered(PARALLEL).for_each(|answer| {
        match answer {
            Ok(found) => {
                answers.tags.extend(found.tags);
                answers.images.extend(found.images);
            }
            Err(trouble) => troubles.push(trouble),
        }
        futures::future::ready(())
    });
    if tokio::time::timeout(PATIENCE, collect).await.is_err() {
        troubles.push(format!("no answer within {} s", PATIENCE.as_secs()));
    }
    if let Some(first) = troubles.first() {
        let more =
            if troubles.len() > 1 { format!(", and {} more", troubles.len() - 1) } else { String::new() };
        log.line(format_args!("warning: cannot ask the registry about {first}{more}"));
    }
    for row in rows {
        row.learn(&answers);
    }
}

fn host(repository: &str) -> Option<String> {
    Repository::parse(repository).ok().map(|repository| repository.host().to_owned())
}

/// Credentials go only to the registry that they are for.
fn access_for(access: &Access, is_trusted: bool) -> Access {
    let mut access = access.clone();
    if !is_trusted {
        access.username = String::new();
        access.password = SecretString::default();
        access.client_cert = String::new();
        access.client_key = SecretString::default();
    }
    access
}

async fn ask(
    repository: &str,
    questions: &Questions,
    access: &Access,
) -> Result<Answers, crate::registry::Error> {
    // One warning in the end says more than every retry on the way.
    let quiet = Log::to(std::io::sink());
    let policy = Policy { deadline: EACH, ..Policy::default() };
    let client = Client::connect(repository, access, &quiet)?.with_policy(policy);
    let mut answers = Answers::default();
    for tag in &questions.tags {
        if let Some(digest) = client.head(tag).await? {
            answers.tags.insert((repository.to_owned(), tag.clone()), digest);
        }
    }
    for digest in &questions.digests {
        let Some(family) = client.family(digest).await? else { continue };
        let config = family.image(&Platform::here()).and_then(|image| image.config());
        let config = match config {
            Some(config) => client.config(config).await?,
            None => None,
        };
        let told = Told { identities: family.identities(), config };
        answers.images.insert((repository.to_owned(), digest.clone()), told);
    }
    Ok(answers)
}
