//! `rollway log`: the log of a build on stdout, all steps of it, as long as its pod is there.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use anyhow::Context;

use super::Surroundings;
use super::access::ClusterArgs;
use super::build::{image_name, newest};
use crate::executable::colour;
use crate::exit::Code;
use crate::failure::Failure;
use crate::kpack::{Build, State};
use crate::kpack_trigger::driver::log::Written;
use crate::kpack_trigger::driver::{self, Place, Site};
use crate::kpack_trigger::{Error, Order};
use crate::log::Log;

/// Show the log of a build of a kpack Image
#[derive(clap::Args)]
pub struct Args {
    /// The Image's name
    #[arg(value_parser = image_name)]
    image: String,
    /// The build's number [default: the newest]
    #[arg(short, long, value_name = "NUMBER")]
    build: Option<u64>,
    /// Go on until the build has its verdict
    #[arg(short, long)]
    follow: bool,
    /// How many seconds to follow at most
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Runs the command.
///
/// # Errors
///
/// When there is no such build, or its log is gone.
pub async fn run(args: Args, surroundings: &Surroundings) -> anyhow::Result<Code> {
    let cluster = args.cluster.connect(surroundings).await?;
    let options = args.cluster.options(&cluster.namespace);
    let place = Place::at(cluster, args.image.clone(), None).await.map_err(Failure::from)?;
    let build = match args.build {
        None => newest(&place, &options).await?,
        Some(number) => numbered(&place, &args.image, number).await?,
    };
    let mut out = colour::stream(std::io::stdout(), &surroundings.vars);
    if args.follow && build.state == State::Running {
        let order = Order { logs: true, timeout: Duration::from_secs(args.timeout), ..Order::default() };
        let out = Log::to(out);
        let site = Site { place: &place, log: &out, interrupted: surroundings.interrupted.clone() };
        driver::follow(&site, &order, &build).await.map_err(Failure::from)?;
        return Ok(Code::Done);
    }
    let mut broken = Ok(());
    let mut sink = |line: &str| {
        if broken.is_ok() {
            broken = writeln!(out, "{line}");
        }
    };
    let written = tokio::select! {
        written = place.write_log(&build, &mut sink) => written,
        () = surroundings.interrupted.clone() => return Ok(Code::Interrupted),
    };
    match broken.and_then(|()| out.flush()) {
        // Whoever closed it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Code::Done),
        answer => answer.context("failed to write to stdout")?,
    }
    match written {
        Written::All => return Ok(Code::Done),
        Written::NoPod => surroundings.log.line("the build's pod is gone, and its log with it"),
        Written::Denied => surroundings.log.line("these credentials may not read logs (pods/log)"),
        Written::Broken(why) => {
            surroundings.log.line(format_args!("the log cannot be read to its end: {why}"));
        }
    }
    Ok(Code::Failed)
}

async fn numbered(place: &Place, image: &str, number: u64) -> anyhow::Result<Build> {
    let builds = driver::steady(async || place.builds().await).await.map_err(Failure::from)?;
    let known = builds.iter().map(Build::number_text).collect();
    let found = builds.into_iter().rfind(|build| build.number == Some(number));
    let missing = Error::NoBuild { build: number.to_string(), image: image.to_owned(), known };
    Ok(found.ok_or_else(|| Failure::from(missing))?)
}
