//! Streams the log of a build that runs, step after step, beside the one who waits for its verdict. It
//! keeps the last lines of the step, for the story of a failure, and nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Place;
use super::log::Read;
use crate::cluster;
use crate::kpack::steps::{Progress, Step, is_over, steps};
use crate::kpack_trigger::mask::Mask;
use crate::kpack_trigger::report::heading;
use crate::kpack_trigger::tail::{Position, Tail};
use crate::log::Log;

/// How long to wait for news of the pod before a connection that ended is made again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a log may not be served before that is said.
const UNREADABLE: u32 = 3;
/// How long to wait before it is said.
const SOON: Duration = Duration::from_millis(200);

/// A log that is being streamed; dropping it ends that.
pub(super) struct Streamer {
    pod: watch::Sender<Option<Pod>>,
    tail: Arc<Mutex<Tail>>,
    task: JoinHandle<()>,
}

impl Drop for Streamer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Streamer {
    /// Starts; there is nothing to stream before [`Self::show`].
    pub(super) fn start(place: &Place, log: &Log) -> Self {
        let (pod, shown) = watch::channel(None);
        let tail: Arc<Mutex<Tail>> = Arc::default();
        let reader = Reader { place: place.clone(), log: log.clone(), tail: tail.clone(), shown };
        Self { pod, tail, task: tokio::spawn(reader.run()) }
    }

    /// Shows how the build's pod is now.
    pub(super) fn show(&self, pod: Option<&Pod>) {
        // A pod that is deleted keeps its last state: what it logged may still be on its way.
        if let Some(pod) = pod {
            self.pod.send_if_modified(|known| {
                let is_news = known.as_ref() != Some(pod);
                if is_news {
                    *known = Some(pod.clone());
                }
                is_news
            });
        }
    }

    /// Lets the rest of the log come, until then; returns whether it came.
    pub(super) async fn finish(&mut self, end: Instant) -> bool {
        tokio::time::timeout(end.saturating_duration_since(Instant::now()), &mut self.task).await.is_ok()
    }

    /// Returns the last lines of `step`, if it is the one that ran last.
    pub(super) fn tail_of(&self, step: &str) -> Option<Vec<String>> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).of(step)
    }
}

/// What streams, on its own.
struct Reader {
    place: Place,
    log: Log,
    tail: Arc<Mutex<Tail>>,
    shown: watch::Receiver<Option<Pod>>,
}

impl Reader {
    async fn run(mut self) {
        let mut done = 0;
        loop {
            let pod = self.shown.borrow_and_update().clone();
            let step = pod.as_ref().and_then(|pod| steps(pod).into_iter().nth(done));
            match (pod, step) {
                (Some(_), None) if done > 0 => return,
                (Some(pod), Some(step)) if !matches!(step.progress, Progress::Waiting { .. }) => {
                    if !self.step(&pod, &step).await {
                        self.log.line(
                            "these credentials may not read logs (pods/log): the build is waited for without",
                        );
                        return;
                    }
                    done += 1;
                }
                (Some(pod), Some(_)) if is_over(&pod) => done += 1,
                _ => {
                    if self.shown.changed().await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Streams one step to its end; returns whether that is allowed.
    async fn step(&mut self, pod: &Pod, step: &Step) -> bool {
        self.log.line(heading(&step.name));
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).begin(&step.name);
        let (log, tail) = (self.log.clone(), self.tail.clone());
        let mut mask = Mask::of(&step.name);
        let mut sink = move |line: &str| {
            let line = mask.line(line);
            log.line(&line);
            tail.lock().unwrap_or_else(PoisonError::into_inner).push(&line);
        };
        let (mut position, mut failures) = (Position::default(), 0);
        loop {
            let has_ended = self.has_ended(&step.name);
            let read = if has_ended {
                self.place.read_log(pod, &step.name, &mut position, &mut sink).await
            } else {
                self.place.follow_log(pod, &step.name, &mut position, &mut sink).await
            };
            match read {
                Ok(Read::Denied) => return false,
                Ok(Read::Gone) => return true,
                // What was read after the container's end is all there is.
                Ok(Read::End) if has_ended => return true,
                Ok(Read::End | Read::NotYet) => failures = 0,
                // One that was cut was served.
                Err(cluster::Error::Unexpected { .. }) => {}
                Err(error) => {
                    failures += 1;
                    if failures == UNREADABLE {
                        self.log.line(format!("the log of this step cannot be read: {error}"));
                    }
                    if failures >= UNREADABLE && has_ended {
                        return true;
                    }
                    tokio::time::sleep(SOON).await;
                    if failures < UNREADABLE {
                        continue;
                    }
                }
            }
            // The connection ends with the container, or was cut: the pod will say which.
            if !self.has_ended(&step.name) {
                let _ = tokio::time::timeout(AGAIN, self.shown.changed()).await;
            } else if has_ended {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    fn has_ended(&self, name: &str) -> bool {
        let pod = self.shown.borrow();
        let Some(pod) = pod.as_ref() else { return false };
        let step = steps(pod).into_iter().find(|step| step.name == name);
        is_over(pod) || step.is_none_or(|step| matches!(step.progress, Progress::Ended { .. }))
    }
}
