//! One run: prepare, find the build, follow it to its verdict, and begin again where the
//! infrastructure failed it. Silence of the API server is neither a success nor a failure.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use k8s_openapi::api::core::v1::Pod;

use super::clocks::Clocks;
use super::find::Found;
use super::live::Live;
use super::stream::Streamer;
use super::{Place, Site};
use crate::cluster;
use crate::failure::chain;
use crate::kpack::{Build, Image};
use crate::kpack_trigger::cause::{Class, explain};
use crate::kpack_trigger::follow::{Standing, own_pod, standing};
use crate::kpack_trigger::mine::{Begin, Request, begin, newest};
use crate::kpack_trigger::order::{Order, Wait};
use crate::kpack_trigger::stage::Stage;
use crate::kpack_trigger::{Error, report};

/// How long to wait for news before clocks are looked at.
pub(super) const TICK: Duration = Duration::from_millis(500);
/// How long the API server may be out of sight before the verdict counts as unknown.
pub(super) const BLIND: Duration = Duration::from_secs(60);
/// How long one answer may take.
pub(super) const ANSWER: Duration = Duration::from_secs(15);
/// For how long after trouble a refusal may be part of it: an API server that has just started knows
/// neither tokens nor roles for a moment.
const WARMING: Duration = Duration::from_secs(30);
/// How long a pause a build that the infrastructure failed gets.
const PAUSE: Duration = Duration::from_secs(5);
/// How long all that is told after the verdict may take to be fetched: the pod, the rest of the log, the
/// last lines of a step.
const REST: Duration = Duration::from_millis(1_700);
/// How much of that each answer of the API server may take.
const TAIL: Duration = Duration::from_millis(400);

/// Has a build made as ordered.
pub(super) async fn build(site: &Site<'_>, order: &Order) -> Result<Build, Error> {
    let run = Run::new(site, order);
    run.or_interrupted(run.whole()).await
}

/// Follows a build that is there.
pub(super) async fn follow(site: &Site<'_>, order: &Order, build: &Build) -> Result<Build, Error> {
    let run = Run::new(site, order);
    let mut live = Live::start(site.place);
    run.or_interrupted(async { run.follow(build, &mut live).await?.map_err(|(_, error)| error) }).await
}

/// How a build ended: well, or with what it was then and why it failed.
type Verdict = Result<Build, (Box<Build>, Error)>;

/// One run.
pub(super) struct Run<'a> {
    site: &'a Site<'a>,
    pub(super) order: &'a Order,
    pub(super) started: Instant,
    /// What is left behind if it ends now.
    stage: Mutex<Stage>,
    /// When the API server last gave no answer.
    troubled: Mutex<Option<Instant>>,
}

impl<'a> Run<'a> {
    fn new(site: &'a Site<'a>, order: &'a Order) -> Self {
        Self { site, order, started: Instant::now(), stage: Mutex::default(), troubled: Mutex::default() }
    }

    pub(super) fn place(&self) -> &Place {
        self.site.place
    }

    pub(super) fn say(&self, line: &str) {
        self.site.log.line(line);
    }

    pub(super) fn tell(&self, lines: &[String]) {
        for line in lines {
            self.say(line);
        }
    }

    pub(super) fn stage(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    pub(super) fn stands_at(&self) -> Stage {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn or_interrupted(&self, work: impl Future<Output = Result<Build, Error>>) -> Result<Build, Error> {
        let work = work.fuse();
        let mut interrupted = self.site.interrupted.clone().fuse();
        futures::pin_mut!(work);
        futures::select_biased! {
            result = work => result,
            () = interrupted => {
                let Place { cluster, image, .. } = self.place();
                let (namespace, image) = (cluster.namespace.clone(), image.clone());
                Err(Error::Interrupted { namespace, image, stage: self.stands_at() })
            }
        }
    }

    async fn whole(&self) -> Result<Build, Error> {
        let (image, before) = self.prepare().await?;
        // A build that begins right after the write is ours: what was there is told by a list from before.
        let changed = before.is_some();
        let builds = match before {
            Some(before) => before,
            None => self.patient(async || self.place().builds().await).await?,
        };
        let mut live = Live::start(self.place());
        let mut build = match begin(&image, &builds, changed, self.order.trigger) {
            Begin::Done(build) => {
                self.say(&format!("built already: {}", report::success(&build)));
                return Ok(*build);
            }
            Begin::Join(build) => {
                self.say("a build with all of that is under way:");
                self.tell(&report::found(&build, false));
                *build
            }
            Begin::Ask(request) => {
                if !changed && !self.order.trigger {
                    self.stage(Stage::Unchanged);
                }
                match self.find(&request, &mut live).await? {
                    Found::Begun(build) => *build,
                    Found::Nothing(build) => return Ok(*build),
                }
            }
        };
        if self.order.wait != Wait::Verdict {
            return Ok(build);
        }
        for retries in 0.. {
            let (ended, error) = match self.follow(&build, &mut live).await? {
                Ok(build) => return Ok(build),
                Err(failed) => failed,
            };
            let is_infrastructure =
                matches!(&error, Error::Failed { cause, .. } if cause.class == Class::Infrastructure);
            if retries >= self.order.retry || !is_infrastructure {
                return Err(error);
            }
            self.say(&format!("retry {} of {}: {}", retries + 1, self.order.retry, chain(&error)));
            self.stage(Stage::Failed(ended.name.clone()));
            tokio::time::sleep(PAUSE).await;
            build = match self.again(&ended, &mut live).await? {
                Found::Begun(build) => *build,
                Found::Nothing(build) => return Ok(*build),
            };
        }
        Ok(build)
    }

    /// Joins the build that came after `failed`, or asks for one.
    async fn again(&self, failed: &Build, live: &mut Live) -> Result<Found, Error> {
        let (image, builds) = self.look().await?;
        if failed.owner.as_ref().is_some_and(|owner| *owner != image.uid) {
            return Err(Error::ImageGone { image: image.name, again: true });
        }
        match newest(&image, &builds) {
            Some(next) if next.number > failed.number && next.uid != failed.uid => {
                self.tell(&report::found(next, false));
                Ok(Found::Begun(Box::new(next.clone())))
            }
            _ => self.find(&Request::new(&image, &builds, true), live).await,
        }
    }

    /// Follows a build to its verdict.
    async fn follow(&self, build: &Build, live: &mut Live) -> Result<Verdict, Error> {
        self.stage(Stage::Running(build.name.clone()));
        let mut streamer = self.order.logs.then(|| Streamer::start(self.place(), self.site.log));
        let mut clocks = Clocks::default();
        let mut latest = build.clone();
        loop {
            let (builds, pods) = (live.builds(), live.pods());
            let pod = own_pod(&latest, &pods).cloned();
            if let Some(streamer) = &streamer {
                streamer.show(pod.as_ref());
            }
            // Before its first list the watch tells of nothing.
            let known = if live.has_listed { builds } else { vec![latest.clone()] };
            match standing(&latest, &known, &pods) {
                Standing::Running(build) => latest = *build,
                Standing::Succeeded(build) => {
                    let end = Instant::now() + REST;
                    if let Some(streamer) = &mut streamer {
                        streamer.show(self.pod_of(&build, pod).await.as_ref());
                        streamer.finish(end).await;
                    }
                    self.say(&report::success(&build));
                    return Ok(Ok(*build));
                }
                Standing::Failed(build) => {
                    let end = Instant::now() + REST;
                    let pod = self.pod_of(&build, pod).await;
                    let error = self.failed(&build, pod.as_ref(), streamer, end).await;
                    return Ok(Err((build, error)));
                }
                Standing::Phantom(_) | Standing::Deleted { .. } => {
                    if let Some(error) = self.lost(&latest).await? {
                        return Err(error);
                    }
                }
            }
            self.watch_clocks(&latest, &pods, &mut clocks, live).await?;
            live.changed(TICK).await;
        }
    }

    /// Returns the build's pod; a build may be faster than the watch on pods.
    async fn pod_of(&self, build: &Build, seen: Option<Pod>) -> Option<Pod> {
        if seen.is_some() || build.pod.is_none() {
            return seen;
        }
        let pods = tokio::time::timeout(TAIL, self.place().pods()).await.ok()?.ok()?;
        own_pod(build, &pods).cloned()
    }

    /// Tells a failure: the rest of the log, then the step, its last lines, and what to do.
    async fn failed(
        &self,
        build: &Build,
        pod: Option<&Pod>,
        streamer: Option<Streamer>,
        end: Instant,
    ) -> Error {
        let mut kept = None;
        let mut cause = explain(build, pod);
        if let Some(mut streamer) = streamer {
            streamer.show(pod);
            // A log that lags behind does not have its last lines yet.
            let is_whole = streamer.finish(end.checked_sub(TAIL).unwrap_or(end)).await;
            kept = cause.step.as_deref().filter(|_| is_whole).and_then(|step| streamer.tail_of(step));
        }
        let tail = match (kept, &cause.step, &build.pod) {
            (Some(lines), ..) => lines,
            (None, Some(step), Some(pod)) => {
                let left = end.saturating_duration_since(Instant::now());
                tokio::time::timeout(left, self.place().tail(pod, step)).await.unwrap_or_default()
            }
            _ => Vec::new(),
        };
        if tail.is_empty() {
            cause = cause.without_log(build);
        }
        self.tell(&report::failure(build, &cause, &tail));
        Error::Failed { build: build.name.clone(), cause: Box::new(cause) }
    }

    /// Looks a second time at a build that seems gone; `None` when it is there after all.
    async fn lost(&self, build: &Build) -> Result<Option<Error>, Error> {
        let builds = self.patient(async || self.place().builds().await).await?;
        let pods = self.place().pods().await.unwrap_or_default();
        let name = build.name.clone();
        Ok(match standing(build, &builds, &pods) {
            Standing::Phantom(_) => Some(Error::Phantom { build: name }),
            Standing::Deleted { again } => {
                let image = self.patient(async || self.place().image().await).await;
                match image {
                    Err(error) if error.is_no_image() => {
                        Some(Error::ImageGone { image: self.place().image.clone(), again: false })
                    }
                    Ok(image) if build.owner.as_ref().is_some_and(|owner| *owner != image.uid) => {
                        Some(Error::ImageGone { image: image.name, again: true })
                    }
                    _ => Some(Error::Deleted { build: name, again }),
                }
            }
            _ => None,
        })
    }

    /// Looks at the Image and its builds afresh.
    pub(super) async fn look(&self) -> Result<(Image, Vec<Build>), Error> {
        let image = self.patient(async || self.place().image().await).await;
        let image = match image {
            Err(error) if error.is_no_image() => {
                return Err(Error::ImageGone { image: self.place().image.clone(), again: false });
            }
            image => image?,
        };
        Ok((image, self.patient(async || self.place().builds().await).await?))
    }

    /// Asks again and again until the API server answers.
    pub(super) async fn patient<T>(&self, ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
        let started = Instant::now();
        loop {
            let why = match tokio::time::timeout(ANSWER, ask()).await {
                Ok(Err(Error::Cluster(error))) if self.may_pass(&error) => chain(&error),
                Ok(answer) => return answer,
                Err(_) => format!("no answer within {} s", ANSWER.as_secs()),
            };
            if started.elapsed() > BLIND {
                let (seconds, stage) = (started.elapsed().as_secs(), self.stands_at());
                let Place { cluster, image, .. } = self.place();
                let (namespace, image) = (cluster.namespace.clone(), image.clone());
                return Err(Error::Unknown { namespace, image, seconds, why, stage });
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Returns whether the error is one of an API server that is away and may come back.
    pub(super) fn may_pass(&self, error: &cluster::Error) -> bool {
        let mut troubled = self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        if error.is_transient() || matches!(error, cluster::Error::Unexpected { .. }) {
            *troubled = Some(Instant::now());
            return true;
        }
        matches!(error.status(), Some(401 | 403)) && troubled.is_some_and(|at| at.elapsed() < WARMING)
    }
}
