//! `rollway builds`: the builds of one Image, or of all of a namespace.

use serde_json::{Value, json};

use super::Surroundings;
use super::access::ClusterArgs;
use super::build::{document, image_name};
use super::output::{Output, OutputArgs, short, table};
use crate::exit::Code;
use crate::failure::Failure;
use crate::kpack::Build;
use crate::kpack_trigger::driver::{self, Place};

/// The columns of the table.
const HEADING: [&str; 8] = ["IMAGE", "BUILD", "STATE", "DIGEST", "WHEN", "SECONDS", "COMMIT", "WHY"];

/// Show the builds of a kpack Image, or of all Images of the namespace
#[derive(clap::Args)]
pub struct Args {
    /// The Image's name [default: all of the namespace]
    #[arg(value_parser = image_name)]
    image: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs the command.
///
/// # Errors
///
/// When the API server does not list the builds.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let cluster = args.cluster.connect(surroundings).await?;
    let namespace = cluster.namespace.clone();
    let place =
        Place::at(cluster, args.image.clone().unwrap_or_default(), None).await.map_err(Failure::from)?;
    let rows: Vec<(String, Build)> = match &args.image {
        None => driver::steady(async || place.all_builds().await).await.map_err(Failure::from)?,
        Some(image) => {
            let builds = driver::steady(async || place.builds().await).await.map_err(Failure::from)?;
            if builds.is_empty() {
                place.image().await.map_err(Failure::from)?;
            }
            builds.into_iter().map(|build| (image.clone(), build)).collect()
        }
    };
    match args.output.output {
        Output::Json => {
            let builds: Vec<Value> = rows.iter().map(as_json).collect();
            surroundings.print(json!({ "builds": builds }))?;
        }
        Output::Text if rows.is_empty() => {
            surroundings.log.line(format_args!("there are no builds in `{namespace}`"));
        }
        Output::Text => surroundings.print(shown(&rows))?,
    }
    Ok(Code::Done)
}

fn as_json((image, build): &(String, Build)) -> Value {
    let mut value = document(build);
    value["image"] = json!(image);
    value
}

fn shown(rows: &[(String, Build)]) -> String {
    let text = |text: Option<String>| text.unwrap_or_default();
    let cells = |(image, build): &(String, Build)| {
        vec![
            image.clone(),
            build.number_text(),
            build.state.word().to_owned(),
            build.image.as_ref().map(|image| short(image.digest.as_str())).unwrap_or_default(),
            text(build.created.map(|time| time.to_string())),
            text(build.seconds().map(|seconds| seconds.to_string())),
            text(build.origin.commit.as_ref().map(|commit| commit.chars().take(12).collect())),
            build.why().join("; "),
        ]
    };
    table(&HEADING, &rows.iter().map(cells).collect::<Vec<_>>())
}
