//! An open-loop prober: requests start when the schedule says, whatever became of the ones before. A
//! loop that waits for answers would fall silent exactly while there is something to hear.
//!
//! It is bounded in rate, in open requests, in time and in what it reads of an answer; it follows no
//! redirect and asks nothing twice. One thing is out of its hands: a kept connection that is found
//! closed before a request went out on it is opened anew, as every client does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode, Url};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::tally::{Kind, Lane, Tally};
use super::{Error, PATIENCE, client, kind, parse};

/// The most requests per second.
pub const FASTEST: u32 = 200;
/// The most requests that wait for an answer.
const OPEN: usize = 256;
/// So much of an answer is read.
const BODY: usize = 64 << 10;

/// What is asked, and how often.
#[derive(Clone)]
pub struct Plan {
    /// Where.
    pub url: String,
    /// How many requests per second, over all lanes.
    pub rps: u32,
    /// How; the lanes take turns.
    pub lanes: Vec<Lane>,
    /// Roots to trust beside the system's, as PEM texts.
    pub ca_certs: Vec<String>,
}

/// A load under way. It ends when this is dropped.
pub struct Prober {
    tally: Arc<Mutex<Tally>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Prober {
    /// Begins to ask. `began` is the moment from which all times are counted.
    ///
    /// # Errors
    ///
    /// When the address or a certificate is none.
    pub fn start(plan: &Plan, began: Instant) -> Result<Self, Error> {
        let url = parse(&plan.url)?;
        let mut lanes = Vec::new();
        for lane in &plan.lanes {
            let idle = match lane {
                Lane::Fresh => 0,
                Lane::Pooled => OPEN,
            };
            let client = client(&plan.ca_certs)?.http1_only().pool_max_idle_per_host(idle).build();
            lanes.push((*lane, client.map_err(|error| Error::Client(error.to_string()))?));
        }
        let tally = Arc::default();
        let (stop, stopped) = watch::channel(false);
        let pause = Duration::from_secs(1) / plan.rps.clamp(1, FASTEST);
        let run = Run { url, lanes, tally: Arc::clone(&tally), began, pause };
        Ok(Self { tally, stop, task: tokio::spawn(run.go(stopped)) })
    }

    /// Returns what became of the requests so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }

    /// Starts no further request, and waits for the open ones: each has its own deadline.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        // One that hangs in spite of its deadline is not worth a build that hangs.
        let _ = tokio::time::timeout(PATIENCE + Duration::from_secs(1), &mut self.task).await;
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Run {
    url: Url,
    lanes: Vec<(Lane, Client)>,
    tally: Arc<Mutex<Tally>>,
    began: Instant,
    pause: Duration,
}

impl Run {
    async fn go(self, mut stopped: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(self.pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut open = JoinSet::new();
        for (lane, client) in self.lanes.iter().cycle() {
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                due = ticks.tick() => {
                    while open.try_join_next().is_some() {}
                    if open.len() >= OPEN {
                        lock(&self.tally).skipped += 1;
                        continue;
                    }
                    let (client, url, tally) = (client.clone(), self.url.clone(), Arc::clone(&self.tally));
                    let (lane, began, due) = (*lane, self.began, due.into_std());
                    open.spawn(async move {
                        let failure = ask(&client, url, lane).await.err();
                        let at = due.saturating_duration_since(began);
                        lock(&tally).record(lane, at, due.elapsed(), failure);
                    });
                }
            }
        }
        while open.join_next().await.is_some() {}
    }
}

/// Asks once and reads the answer, as much of it as is allowed.
async fn ask(client: &Client, url: Url, lane: Lane) -> Result<(), Kind> {
    let mut request = client.get(url);
    if lane == Lane::Fresh {
        request = request.header("connection", "close");
    }
    let mut response = request.send().await.map_err(|error| kind(&error))?;
    if response.status() >= StatusCode::INTERNAL_SERVER_ERROR {
        return Err(Kind::Server);
    }
    let mut read = 0;
    while let Some(chunk) = response.chunk().await.map_err(|error| kind(&error))? {
        read += chunk.len();
        if read > BODY {
            break;
        }
    }
    Ok(())
}

/// A count that was interrupted by a panic is still a count.
fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
