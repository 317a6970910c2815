//! One lane under way: starts requests when they are due and counts what becomes of each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::client::{Connection, Failure, Route};
use super::report::Tally;
use super::schedule::Schedule;
use super::{Lane, Loss};

/// A lane never has more requests open; one that is due beyond that is lost on this side.
const OPEN: u32 = 4096;

pub(super) struct Runner {
    pub(super) lane: Lane,
    pub(super) route: Route,
    pub(super) tally: Arc<Tally>,
    pub(super) stop: watch::Receiver<bool>,
}

impl Runner {
    /// Runs until it is told to stop, then until all that was started has ended.
    pub(super) async fn run(self) {
        match self.lane.rate() {
            Some(rate) => self.scheduled(Schedule::new(rate)).await,
            None => self.one_by_one().await,
        }
    }

    async fn scheduled(mut self, schedule: Schedule) {
        let open = Arc::new(Semaphore::new(OPEN as usize));
        let asker = Arc::new(Asker::new(self.lane, self.route));
        let start = Instant::now();
        for offset in schedule.starts() {
            tokio::select! {
                biased;
                // A load that was dropped is over too.
                _ = self.stop.wait_for(|stop| *stop) => break,
                () = sleep_until(start + offset) => {}
            }
            self.tally.due();
            let Ok(permit) = open.clone().try_acquire_owned() else {
                self.tally.lost_to(Failure { loss: Loss::Local, pod: None });
                continue;
            };
            let (asker, tally) = (asker.clone(), self.tally.clone());
            tokio::spawn(async move {
                asker.count(&tally, start + offset).await;
                drop(permit);
            });
        }
        // All permits back means that nothing is open; every request has a deadline, so they come back.
        let _ = open.acquire_many(OPEN).await;
    }

    async fn one_by_one(self) {
        let asker = Asker::new(self.lane, self.route);
        while !*self.stop.borrow() && self.stop.has_changed().is_ok() {
            let lost = self.tally.lost();
            self.tally.due();
            asker.count(&self.tally, Instant::now()).await;
            if self.tally.lost() > lost {
                // Refusals come back at once; without a pause one outage would count thousands of them.
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Asks one request as its lane does.
struct Asker {
    lane: Lane,
    route: Route,
    pool: Mutex<VecDeque<Connection>>,
}

impl Asker {
    fn new(lane: Lane, route: Route) -> Self {
        Self { lane, route, pool: Mutex::default() }
    }

    async fn count(&self, tally: &Tally, due: Instant) {
        let mut pod = None;
        let asked = timeout(self.lane.patience(), self.ask(&mut pod)).await;
        match asked.unwrap_or_else(|_| Err(Failure { loss: Loss::Timeout, pod: pod.clone() })) {
            Ok(connection) => {
                tally.answered(connection.pod.clone(), due.elapsed());
                self.leave(connection).await;
            }
            Err(failure) => tally.lost_to(failure),
        }
    }

    /// Asks; `pod` tells who had the connection, should the caller give up waiting.
    async fn ask(&self, pod: &mut Option<String>) -> Result<Kept, Failure> {
        let (path, header) = match self.lane {
            Lane::Fresh { .. } => ("/".to_owned(), "close"),
            Lane::KeepAlive { .. } => ("/".to_owned(), "keep-alive"),
            Lane::Slow { delay, .. } => (format!("/slow?ms={}", delay.as_millis()), "close"),
            Lane::Stream { length } => (format!("/stream?seconds={}", length.as_secs()), "close"),
        };
        let mut connection = match self.pooled() {
            Some(connection) => connection,
            None => Connection::open(self.route).await?,
        };
        pod.clone_from(&connection.pod);
        let answer = connection.ask(&path, header).await?;
        if matches!(self.lane, Lane::Stream { .. }) && !ends_cleanly(&answer.body) {
            return Err(Failure { loss: Loss::Malformed, pod: connection.pod });
        }
        Ok(Kept { pod: connection.pod.clone(), keeps_alive: answer.keeps_alive, connection })
    }

    /// Takes the connection that was idle longest, so that all of the pool stay in use.
    fn pooled(&self) -> Option<Connection> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        // One that the server closed while it was idle is dropped, as every client does: nothing was asked on it.
        while let Some(connection) = pool.pop_front() {
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    async fn leave(&self, kept: Kept) {
        if let Lane::KeepAlive { connections, .. } = self.lane
            && kept.keeps_alive
        {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            if pool.len() < connections {
                pool.push_back(kept.connection);
            }
        } else {
            let _ = timeout(Duration::from_secs(1), kept.connection.closed()).await;
        }
    }
}

/// A connection after a complete answer.
struct Kept {
    connection: Connection,
    pod: Option<String>,
    keeps_alive: bool,
}

/// A stream is whole when its last line says so.
fn ends_cleanly(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.ends_with('\n') && text.lines().next_back().is_some_and(|line| line.starts_with("end "))
}
