//! `rollway build`: how the newest build of an Image stands; a build asked for; a build followed.

use std::time::Duration;

use serde_json::{Value, json};

use super::Surroundings;
use super::access::ClusterArgs;
use super::output::{Output, OutputArgs};
use crate::exit::Code;
use crate::failure::{Explain, Failure};
use crate::kpack::{Build, State};
use crate::kpack_trigger::driver::{self, Place, Site};
use crate::kpack_trigger::order::{Order, Wait};
use crate::kpack_trigger::{Version, is_image_name, record};

/// Show the newest build of a kpack Image, have a new one made, or follow one to its verdict
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("watched").args(["trigger", "follow"]).multiple(true)))]
pub struct Args {
    /// The Image's name
    #[arg(value_parser = image_name)]
    image: String,
    /// Have a build made, even if nothing changed
    #[arg(short, long)]
    trigger: bool,
    /// Show the log and wait for the verdict
    #[arg(short, long)]
    follow: bool,
    /// How many seconds to wait at most
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, requires = "watched", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// How often a build that the infrastructure failed is begun again
    #[arg(long, value_name = "N", default_value_t = 0, requires = "watched", value_parser = clap::value_parser!(u32).range(0..=10))]
    retry: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs the command.
///
/// # Errors
///
/// When the build fails, or cannot be asked for.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let cluster = args.cluster.connect(surroundings).await?;
    let options = args.cluster.options(&cluster.namespace);
    let place = Place::at(cluster, args.image.clone(), None).await.map_err(Failure::from)?;
    let interrupted = surroundings.interrupted.clone();
    let site = Site { place: &place, log: &surroundings.log, interrupted };
    let order = Order {
        trigger: args.trigger,
        wait: if args.follow { Wait::Verdict } else { Wait::Asked },
        logs: true,
        timeout: Duration::from_secs(args.timeout),
        retry: args.retry,
        ..Order::default()
    };
    let build = if args.trigger {
        driver::build(&site, &order).await.map_err(Failure::from)?
    } else {
        let newest = newest(&place, &options).await?;
        if args.follow && newest.state == State::Running {
            driver::follow(&site, &order, &newest).await.map_err(Failure::from)?
        } else {
            newest
        }
    };
    match args.output.output {
        Output::Json => surroundings.print(document(&build))?,
        Output::Text => {
            for line in shown(&build, &place.link(&build)) {
                surroundings.print(line)?;
            }
        }
    }
    Ok(if build.state == State::Failed { Code::Failed } else { Code::Done })
}

/// Reads the name of an Image before it becomes part of a URL or a selector.
pub(super) fn image_name(text: &str) -> Result<String, String> {
    if is_image_name(text) {
        return Ok(text.to_owned());
    }
    Err("not a Kubernetes name of at most 63 characters".to_owned())
}

/// Returns the newest build, or says that there is none. `options` lead to the cluster that was asked.
pub(super) async fn newest(place: &Place, options: &str) -> anyhow::Result<Build> {
    let mut builds = driver::steady(async || place.builds().await).await.map_err(Failure::from)?;
    if builds.is_empty() {
        let image = place.image().await.map_err(Failure::from)?;
        return Err(Failure::from(NoBuilds { image: image.name, options: options.to_owned() }).into());
    }
    Ok(builds.remove(builds.len() - 1))
}

#[derive(Debug, thiserror::Error)]
#[error("the Image `{image}` has no builds yet")]
struct NoBuilds {
    image: String,
    options: String,
}

impl Explain for NoBuilds {
    fn hint(&self) -> Option<String> {
        Some(format!("`rollway build {}{} --trigger` waits for the first one", self.image, self.options))
    }
}

fn shown(build: &Build, link: &str) -> Vec<String> {
    let mut rows = vec![("state".to_owned(), build.state.word().to_owned())];
    rows.extend(build.image.as_ref().map(|image| ("image".to_owned(), image.to_string())));
    if build.state != State::Succeeded && !build.condition.words().is_empty() {
        rows.push(("kpack says".to_owned(), build.condition.words()));
    }
    rows.extend(record::fields(build, link).into_iter().map(|field| (field.name, field.value)));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.into_iter().map(|(name, value)| format!("{name:<width$} {value}")).collect()
}

/// Returns a build as a program reads it.
pub(super) fn document(build: &Build) -> Value {
    json!({
        "version": Version::of(build),
        "name": build.name,
        "state": build.state.word(),
        "reasons": build.reasons,
        "why": build.why(),
        "commit": build.origin.commit,
        "buildpacks": build.buildpacks,
        "run_image": build.run_image,
        "seconds": build.seconds(),
        "created": build.created.map(|time| time.to_string()),
        "message": build.condition.words(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::kpack::fixtures::{mk_build, mk_failed};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn options_about_waiting_are_refused_where_nobody_waits() {
        let parse = |words: &str| Cli::try_parse_from(words.split(' ')).map(|cli| cli.args);
        assert!(parse("build app --timeout 5").is_err() && parse("build app --retry 1").is_err());
        for words in
            ["build app", "build app -t --retry 1", "build app -f --timeout 5", "build app -tf --timeout 5"]
        {
            assert!(parse(words).is_ok(), "{words}");
        }
    }

    #[test]
    fn a_build_is_shown_with_what_it_published_or_what_kpack_says() {
        let lines = shown(&mk_build(3), "");
        assert!(lines[0].ends_with("succeeded") && lines[1].contains("r.example/app@sha256:"), "{lines:?}");
        let lines = shown(&mk_failed(3), "");
        assert!(lines.iter().any(|line| line.ends_with("Failed: no")), "{lines:?}");
        assert_eq!(document(&mk_failed(3))["version"], json!({"build": "3", "uid": "uid-3"}));
    }
}
