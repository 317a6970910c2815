//! `rollway history`: what was rolled out before, as far as the cluster still knows.

use serde_json::json;

use super::Surroundings;
use super::access::ClusterArgs;
use super::output::{Output, OutputArgs, short, table};
use super::workload::Workload;
use crate::exit::Code;
use crate::failure::{Explain, Failure};
use crate::rollout::history::Entry;
use crate::rollout::{Error, Target, driver};

/// The columns of the table; the first marks what the template asks for now.
const HEADING: [&str; 7] = ["NOW", "REVISION", "DIGEST", "TAG", "WHEN", "BY", "OUTCOME"];

/// Show what was rolled out before, newest first
#[derive(clap::Args)]
pub struct Args {
    /// The workload: a Deployment's name, `statefulset/NAME` or `daemonset/NAME`
    workload: Workload,
    /// The container, when the pod has several
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs the command.
///
/// # Errors
///
/// When the Deployment is not there, or the API server does not answer.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let cluster = args.cluster.connect(surroundings).await?;
    let target = Target {
        namespace: cluster.namespace.clone(),
        kind: args.workload.kind,
        name: args.workload.name,
        containers: args.container.into_iter().collect(),
    };
    let entries = driver::history(&cluster, &target).await.map_err(|error| Failure::from(Unread(error)))?;
    match args.output.output {
        Output::Text => surroundings.print(shown(&entries))?,
        Output::Json => {
            let workload = format!("{}/{}/{}", target.namespace, target.kind.word(), target.name);
            surroundings.print(json!({ "workload": workload, "history": entries }))?;
        }
    }
    Ok(Code::Done)
}

/// Nothing was to be rolled, so no rule forbids it: what a rollout calls blocked has failed here.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Unread(Error);

impl Explain for Unread {
    fn hint(&self) -> Option<String> {
        self.0.hint()
    }
}

fn shown(entries: &[Entry]) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = |entry: &Entry| {
        let by = entry.build.clone().or_else(|| entry.by.clone());
        vec![
            if entry.current { "*" } else { " " }.to_owned(),
            text(&entry.revision),
            // An image that somebody wrote by hand may name no digest.
            entry.digest.as_deref().map_or_else(|| entry.image.clone(), short),
            text(&entry.tag),
            text(&entry.at),
            text(&by),
            text(&entry.outcome),
        ]
    };
    table(&HEADING, &entries.iter().map(cells).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_now_is_marked_and_what_nobody_knows_is_a_dash() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let entries = [
            Entry {
                revision: Some("5".to_owned()),
                image: format!("app@{digest}"),
                digest: Some(digest),
                at: Some("2026-01-02T03:04:05Z".to_owned()),
                build: Some("https://ci/7".to_owned()),
                outcome: Some("rolled".to_owned()),
                current: true,
                ..Entry::default()
            },
            Entry { image: "app:1.4".to_owned(), ..Entry::default() },
        ];
        insta::assert_snapshot!(shown(&entries), @r"
        NOW  REVISION  DIGEST        WHEN                  BY            OUTCOME
        *    5         aaaaaaaaaaaa  2026-01-02T03:04:05Z  https://ci/7  rolled
             -         app:1.4       -                     -             -
        ");
    }
}
