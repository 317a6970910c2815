//! Keeps sight of the cluster: an API server that is away for a while is waited for, because silence
//! is neither a failure nor a success. Away for longer, nobody knows what became of the rollout.

use std::future::Future;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Rollout;
use super::live::Live;
use super::steps::{TICK, lost_race};
use crate::cluster;
use crate::failure::chain;
use crate::rollout::Error;
use crate::rollout::observe::Snapshot;
use crate::rollout::plan::step::Step;

/// How long one look may take.
const ANSWER: Duration = Duration::from_secs(15);
/// For how long after trouble a refusal may be part of it: an API server that has just started knows
/// neither tokens nor roles for a moment.
const WARMING: Duration = Duration::from_secs(30);
/// How long a Deployment that was deleted may take to be made again by who deleted it.
const AGAIN: Duration = Duration::from_secs(2);

impl Rollout<'_> {
    /// Looks, again and again until the API server answers.
    pub(super) async fn fresh(&self) -> Result<Snapshot, Error> {
        self.patient(|| self.place.look()).await
    }

    /// The same before a step.
    pub(super) async fn fresh_before(&self, step: &Step) -> Result<Snapshot, Error> {
        self.patient(|| self.place.look_before(step)).await
    }

    async fn patient<F>(&self, look: impl Fn() -> F) -> Result<Snapshot, Error>
    where
        F: Future<Output = Result<Snapshot, cluster::Error>>,
    {
        let started = Instant::now();
        loop {
            let why = match tokio::time::timeout(ANSWER, look()).await {
                Ok(Ok(snapshot)) => return Ok(snapshot),
                Ok(Err(error)) if error.status() == Some(404) => return Err(self.gone().await),
                Ok(Err(error)) if self.may_pass(&error) => chain(&error),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    self.note_trouble();
                    format!("no answer within {} s", ANSWER.as_secs())
                }
            };
            if started.elapsed() > self.patience {
                return Err(self.unknown(started.elapsed(), why));
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Returns whether the error is one of an API server that is away and may come back.
    pub(super) fn may_pass(&self, error: &cluster::Error) -> bool {
        let is_away = error.is_transient() || matches!(error, cluster::Error::Unexpected { .. });
        if is_away {
            self.note_trouble();
        }
        let is_warming = matches!(error.status(), Some(401 | 403))
            && self
                .trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_some_and(|at| at.elapsed() < WARMING);
        is_away || is_warming
    }

    /// Returns whether a write may do better on what is there now.
    pub(super) fn may_try_again(&self, error: &cluster::Error) -> bool {
        lost_race(error) || self.may_pass(error)
    }

    fn note_trouble(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn unknown(&self, since: Duration, why: String) -> Error {
        Error::Unknown { target: self.name(), seconds: since.as_secs(), why }
    }

    /// Says whether the Deployment that went away is there again, as another one.
    pub(super) async fn gone(&self) -> Error {
        tokio::time::sleep(AGAIN).await;
        let look = tokio::time::timeout(ANSWER, self.place.look()).await;
        let again = look.ok().and_then(Result::ok).map(|look| look.image().to_owned());
        Error::Gone { target: self.name(), again }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.place.namespace, self.place.name)
    }

    /// Waits for news. Watches that fail for long are not believed to be the whole truth: a look that
    /// works shows as much.
    pub(super) async fn listen(&self, live: &mut Live) -> Result<(), Error> {
        let _ = tokio::time::timeout(TICK, live.changed()).await;
        self.keep_lock().await?;
        if let Some((since, why)) = live.lost.clone() {
            self.note_trouble();
            if since.elapsed() > self.patience {
                match tokio::time::timeout(ANSWER, self.place.look()).await {
                    Ok(Ok(look)) => live.refresh(&look),
                    _ => return Err(self.unknown(since.elapsed(), why)),
                }
                live.lost = None;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
