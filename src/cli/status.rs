//! `rollway status`: what runs, what should, and what there is by now, for many workloads at once.

use anyhow::bail;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use serde_json::json;

use super::Surroundings;
use super::access::{ClusterArgs, RegistryArgs};
use super::output::{Output, OutputArgs, short, table};
use super::workload::Workload;

use crate::cluster::Cluster;
use crate::exit::Code;
use crate::failure::Failure;
use crate::rollout::Kind;
use crate::rollout::driver::status::{self, Listing};
use crate::rollout::status::Status;

/// The columns of the table.
const HEADING: [&str; 12] = [
    "NAMESPACE",
    "KIND",
    "NAME",
    "PODS",
    "RUNNING",
    "WANTED",
    "NEWEST",
    "JAVA",
    "RUN IMAGE",
    "LAST ROLLOUT",
    "BY",
    "OUTCOME",
];

/// Show what runs, what the templates ask for and what the registry has, for many workloads at once
#[derive(clap::Args)]
pub struct Args {
    /// The workloads: a Deployment's name, `statefulset/NAME` or `daemonset/NAME` [default: all of the
    /// namespace]
    workloads: Vec<Workload>,
    /// Look in all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// Ask no registry: no newest digest, no versions
    #[arg(long)]
    offline: bool,
    /// The registry that gets the credentials [default: the only one there is]
    #[arg(long, value_name = "HOST")]
    registry: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    access: RegistryArgs,
}

/// Runs the command.
///
/// # Errors
///
/// When the API server does not list the workloads, or a named one is not there.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let access = args.access.access(surroundings)?;
    let cluster = args.cluster.connect(surroundings).await?;
    let namespace = (!args.all_namespaces).then_some(cluster.namespace.as_str());
    let kinds: Vec<Kind> = args.workloads.iter().map(|workload| workload.kind).collect();
    let Listing { mut rows, refused } =
        status::list(&cluster, namespace, &kinds).await.map_err(Failure::from)?;
    for refusal in refused {
        surroundings.log.line(format_args!("warning: {refusal}"));
    }
    if !args.workloads.is_empty() {
        rows = named(rows, &args.workloads, namespace, &cluster).await?;
    }
    if !args.offline {
        status::learn(&mut rows, &access, args.registry.as_deref(), &surroundings.log).await;
    }
    match args.output.output {
        Output::Json => surroundings.print(json!({ "workloads": rows }))?,
        Output::Text if rows.is_empty() => {
            let place = namespace.map_or_else(|| "any namespace".to_owned(), |name| format!("`{name}`"));
            surroundings.log.line(format_args!("there are no workloads in {place}"));
        }
        Output::Text => surroundings.print(shown(&rows))?,
    }
    Ok(Code::Done)
}

/// Keeps the rows of `workloads`; `namespace` is the only one that was looked at.
async fn named(
    rows: Vec<Status>,
    workloads: &[Workload],
    namespace: Option<&str>,
    cluster: &Cluster,
) -> anyhow::Result<Vec<Status>> {
    let is = |row: &Status, workload: &Workload| (row.kind, &row.name) == (workload.kind, &workload.name);
    if let Some(missing) = workloads.iter().find(|workload| !rows.iter().any(|row| is(row, workload))) {
        let (title, name) = (missing.kind.title(), &missing.name);
        let Some(place) = namespace else {
            bail!("there is no {title} `{name}` in any namespace");
        };
        let error = match missing.kind {
            Kind::Deployment => cluster.no_workload::<Deployment>(title, place, name).await,
            Kind::StatefulSet => cluster.no_workload::<StatefulSet>(title, place, name).await,
            Kind::DaemonSet => cluster.no_workload::<DaemonSet>(title, place, name).await,
        };
        return Err(Failure::from(error).into());
    }
    Ok(rows.into_iter().filter(|row| workloads.iter().any(|workload| is(row, workload))).collect())
}

fn shown(rows: &[Status]) -> String {
    let cells = |row: &Status| {
        vec![
            row.namespace.clone(),
            row.kind.word().to_owned(),
            row.name.clone(),
            format!("{}/{}", row.ready, row.replicas),
            running(row),
            wanted(row),
            newest(row),
            row.java.clone().unwrap_or_default(),
            row.run_image.as_deref().map(short_image).unwrap_or_default(),
            row.at.clone().unwrap_or_default(),
            row.build.clone().unwrap_or_default(),
            row.outcome.clone().unwrap_or_default(),
        ]
    };
    table(&HEADING, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn running(row: &Status) -> String {
    let cells = row.running.iter().map(|(digest, pods)| match row.running.len() {
        1 => short(digest),
        _ => format!("{} ×{pods}", short(digest)),
    });
    cells.collect::<Vec<_>>().join(", ")
}

fn wanted(row: &Status) -> String {
    match &row.wanted {
        Some(_) if row.is_as_wanted() => "same".to_owned(),
        Some(digest) => short(digest.as_str()),
        None => row.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default(),
    }
}

fn newest(row: &Status) -> String {
    let tag = row.tag.as_deref().unwrap_or_default();
    match (&row.newest, row.is_newest()) {
        (_, Some(true)) => format!("same (:{tag})"),
        (Some(digest), _) => format!("{} (:{tag})", short(digest.as_str())),
        (None, _) => String::new(),
    }
}

fn short_image(image: &str) -> String {
    match image.split_once('@') {
        Some((name, digest)) => format!("{name}@{}", short(digest)),
        None => image.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    fn digest(letter: char) -> Digest {
        format!("sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
    }

    #[test]
    fn a_row_says_what_differs_and_calls_the_rest_the_same() {
        let mut row = Status {
            wanted: Some(digest('a')),
            running: [(digest('a').to_string(), 3)].into(),
            tag: Some("v1".to_owned()),
            newest: Some(digest('a')),
            ..Status::default()
        };
        assert_eq!(
            (running(&row), wanted(&row), newest(&row)),
            ("a".repeat(12), "same".into(), "same (:v1)".into())
        );
        row.newest = Some(digest('b'));
        row.running.insert(digest('c').to_string(), 1);
        assert_eq!(running(&row), format!("{} ×3, {} ×1", "a".repeat(12), "c".repeat(12)));
        assert_eq!(wanted(&row), "a".repeat(12));
        assert_eq!(newest(&row), format!("{} (:v1)", "b".repeat(12)));
    }
}
