//! An open-loop load generator: requests start when the schedule says, whatever became of the ones before.
//! A closed loop would wait while the target is down and so hide what it lost.
//!
//! It talks to loopback only, is bounded in count, concurrency and time, and retries nothing.

pub mod cli;
mod client;
mod lane;
mod loss;
mod report;
mod schedule;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use self::client::Route;
use self::lane::Runner;
use self::report::Tally;

pub use self::loss::Loss;
pub use self::report::{LaneReport, Latency, LostRequest, Report};

/// No load goes on longer.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The niceness of the load's thread.
const FIRST: i32 = -10;

/// One way of asking, with how much of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lane {
    /// A new connection for each request.
    Fresh {
        /// Requests per second.
        rate: f64,
    },
    /// Requests on a pool of connections that are kept as long as the server keeps them.
    KeepAlive {
        /// Requests per second.
        rate: f64,
        /// The size of the pool.
        connections: usize,
    },
    /// Requests that the server takes this long to answer, each on a new connection.
    Slow {
        /// Requests per second.
        rate: f64,
        /// What the server is asked to wait.
        delay: Duration,
    },
    /// One streamed answer after the other.
    Stream {
        /// How long each goes on.
        length: Duration,
    },
}

impl Lane {
    /// Returns the lane's name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fresh { .. } => "fresh",
            Self::KeepAlive { .. } => "keepalive",
            Self::Slow { .. } => "slow",
            Self::Stream { .. } => "stream",
        }
    }

    /// Returns when a client gives up on one request.
    fn patience(&self) -> Duration {
        match self {
            Self::Fresh { .. } | Self::KeepAlive { .. } => Duration::from_secs(5),
            Self::Slow { delay, .. } => *delay + Duration::from_secs(8),
            Self::Stream { length } => *length + Duration::from_secs(8),
        }
    }

    fn rate(&self) -> Option<f64> {
        match self {
            Self::Fresh { rate } | Self::KeepAlive { rate, .. } | Self::Slow { rate, .. } => Some(*rate),
            Self::Stream { .. } => None,
        }
    }
}

/// What is asked, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name in reports.
    pub name: String,
    /// A loopback address.
    pub address: SocketAddr,
    /// The lanes, which run side by side.
    pub lanes: Vec<Lane>,
}

/// A load under way, in a thread of its own: what else this process does must not look like a slow target.
pub struct Load {
    target: Target,
    started: Instant,
    stop: watch::Sender<bool>,
    tallies: Vec<Arc<Tally>>,
    ended: oneshot::Receiver<()>,
}

impl Load {
    /// Starts all lanes.
    ///
    /// # Errors
    /// A target that is not on loopback, or a rate that no schedule can be made of.
    pub fn start(target: Target) -> anyhow::Result<Self> {
        ensure!(
            target.address.ip().is_loopback(),
            "refused to put load on `{}`: only loopback addresses are allowed",
            target.address
        );
        for rate in target.lanes.iter().filter_map(Lane::rate) {
            ensure!(
                rate > 0.0 && rate <= 10_000.0,
                "a rate of `{rate}` requests per second is not between 0 and 10000"
            );
        }
        raise_descriptor_limit();
        let stop = watch::Sender::new(false);
        let route = Route { from: origin(target.address.ip()), address: target.address };
        let lanes = target.lanes.iter();
        let runners: Vec<Runner> = lanes
            .map(|&lane| Runner { lane, route, tally: Arc::default(), stop: stop.subscribe() })
            .collect();
        let tallies = runners.iter().map(|runner| runner.tally.clone()).collect();
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            // On a busy machine a client that gets no processor would time out by itself. Only root may ask for more.
            let _ = setpriority_process(None, FIRST);
            runtime.block_on(async {
                // A lane that reaches the time bound has counted what it sent; its report says how much that was.
                futures::future::join_all(runners.into_iter().map(|runner| timeout(LONGEST, runner.run())))
                    .await
            });
            // Nobody listens when the load was dropped.
            let _ = end.send(());
        };
        std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(work)
            .context("failed to start the load's thread")?;
        Ok(Self { target, started: Instant::now(), stop, tallies, ended })
    }

    /// Returns what each lane has sent and lost so far.
    pub fn so_far(&self) -> Vec<(&'static str, u64, u64)> {
        let lanes = self.target.lanes.iter().zip(&self.tallies);
        lanes.map(|(lane, tally)| (lane.name(), tally.requests(), tally.lost())).collect()
    }

    /// Starts no further request, waits for the open ones (each has its own deadline) and reports.
    pub async fn stop(self) -> Report {
        let seconds = self.started.elapsed().as_secs_f64();
        self.stop.send_replace(true);
        // A thread that panicked has a bug; what it counted until then is reported, and too little of it shows.
        let _ = self.ended.await;
        let lanes = self
            .target
            .lanes
            .iter()
            .zip(&self.tallies)
            .map(|(lane, tally)| tally.report(lane.name()))
            .collect();
        Report { target: self.target.name, address: self.target.address, seconds, lanes }
    }
}

/// Picks the address that a load comes from, another one for each load, as another client would have.
///
/// A connection that was tried in vain leaves an entry in the kernel's connection table that leads to the pod
/// which was gone, and every new attempt from the same address and port follows it and keeps it alive. Without
/// this, what one rollout lost would still be lost in the measurement after it.
fn origin(target: IpAddr) -> IpAddr {
    let [first, second, third, ..] = RandomState::new().hash_one(target).to_ne_bytes();
    match target {
        IpAddr::V4(_) => Ipv4Addr::new(127, first.max(1), second, third.clamp(1, 254)).into(),
        IpAddr::V6(_) => target,
    }
}

/// A rollout that stalls leaves thousands of connections waiting; the usual limit is 1024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
