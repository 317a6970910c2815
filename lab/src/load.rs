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

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::lane::Runner;
use self::report::Tally;

pub use self::loss::Loss;
pub use self::report::{LaneReport, Latency, LostRequest, Report};

/// No load goes on longer.
const LONGEST: Duration = Duration::from_secs(15 * 60);

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

/// A load under way.
pub struct Load {
    target: Target,
    started: Instant,
    stop: Arc<watch::Sender<bool>>,
    lanes: Vec<(Lane, Arc<Tally>, JoinHandle<()>)>,
}

impl Load {
    /// Starts all lanes; needs a tokio runtime.
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
        let stop = Arc::new(watch::Sender::new(false));
        let lanes = target.lanes.iter().map(|&lane| {
            let tally = Arc::new(Tally::default());
            let runner =
                Runner { lane, address: target.address, tally: tally.clone(), stop: stop.subscribe() };
            let bounded = tokio::time::timeout(LONGEST, runner.run());
            // A lane that reaches the time bound has counted what it sent; its report says how much that was.
            let task = tokio::spawn(async move { drop(bounded.await) });
            (lane, tally, task)
        });
        Ok(Self { lanes: lanes.collect(), target, started: Instant::now(), stop })
    }

    /// Returns what each lane has sent and lost so far.
    pub fn so_far(&self) -> Vec<(&'static str, u64, u64)> {
        self.lanes.iter().map(|(lane, tally, _)| (lane.name(), tally.requests(), tally.lost())).collect()
    }

    /// Starts no further request, waits for the open ones (each has its own deadline) and reports.
    pub async fn stop(self) -> Report {
        let seconds = self.started.elapsed().as_secs_f64();
        self.stop.send_replace(true);
        let mut lanes = Vec::new();
        for (lane, tally, task) in self.lanes {
            // A lane that panicked has a bug; what it counted until then is reported, and too little of it shows.
            let _ = task.await;
            lanes.push(tally.report(lane.name()));
        }
        Report { target: self.target.name, address: self.target.address, seconds, lanes }
    }
}

/// A rollout that stalls leaves thousands of connections waiting; the usual limit is 1024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
