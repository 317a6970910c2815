//! `lab load`: runs a load by hand.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;

use super::{Lane, Load, Report, Target};

/// Put an open-loop load on addresses of this machine and report what was lost.
#[derive(Debug, Parser)]
pub struct Args {
    /// `NAME=ADDRESS:PORT` on loopback; repeatable.
    #[arg(required = true)]
    targets: Vec<String>,
    /// Requests per second, each on a new connection; 0 leaves the lane out.
    #[arg(long, default_value_t = 100.0)]
    fresh: f64,
    /// Requests per second on kept connections.
    #[arg(long, default_value_t = 50.0)]
    keepalive: f64,
    /// Connections kept.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Requests per second that take two seconds each.
    #[arg(long, default_value_t = 2.0)]
    slow: f64,
    /// Seconds that each streamed answer takes; 0 leaves the lane out.
    #[arg(long, default_value_t = 6)]
    stream: u64,
    /// How long to go on.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// Runs the load and returns the reports.
///
/// # Errors
/// A target that is not on loopback.
pub async fn run(args: Args) -> anyhow::Result<Vec<Report>> {
    let lanes = [
        Lane::Fresh { rate: args.fresh },
        Lane::KeepAlive { rate: args.keepalive, connections: args.connections },
        Lane::Slow { rate: args.slow, delay: Duration::from_secs(2) },
        Lane::Stream { length: Duration::from_secs(args.stream) },
    ];
    let wanted = |lane: &Lane| lane.rate().map_or(args.stream > 0, |rate| rate > 0.0);
    let lanes: Vec<Lane> = lanes.into_iter().filter(wanted).collect();
    let mut loads = Vec::new();
    for target in &args.targets {
        let (name, address) =
            target.split_once('=').with_context(|| format!("`{target}` is not NAME=ADDRESS:PORT"))?;
        let address: SocketAddr =
            address.parse().with_context(|| format!("`{address}` is not ADDRESS:PORT"))?;
        loads.push(Load::start(Target { name: name.to_owned(), address, lanes: lanes.clone() })?);
    }
    tokio::time::sleep(Duration::try_from_secs_f64(args.seconds)?).await;
    Ok(futures::future::join_all(loads.into_iter().map(Load::stop)).await)
}
