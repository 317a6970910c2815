//! The clocks beside a build that is followed: for how long something keeps it, for how long the API
//! server is out of sight, and when its pod has ended and no verdict was seen.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;

use super::live::{Live, Needed};
use super::run::{ANSWER, BLIND, Run};
use crate::kpack::Build;
use crate::kpack::steps::{Stuck, is_over};
use crate::kpack_trigger::Error;
use crate::kpack_trigger::follow::{own_pod, trouble};

/// How long a container may be kept from starting; kpack itself waits without end.
const STUCK: Duration = Duration::from_secs(300);
/// How long a verdict may take once the pod has ended; the real one takes a second.
const OVERDUE: Duration = Duration::from_secs(2);

/// How long has lasted what is the matter with one build.
#[derive(Default)]
pub(super) struct Clocks {
    /// What was said of it last.
    words: Option<String>,
    /// Since when a container cannot start.
    since: Option<Instant>,
    /// Since when the pod has ended, and how long after that to look for the verdict.
    over: Option<(Instant, Duration)>,
    has_told_blind: bool,
}

impl Run<'_> {
    /// Says what keeps the build, and ends the wait when that has lasted too long.
    pub(super) async fn watch_clocks(
        &self,
        build: &Build,
        pods: &[Pod],
        clocks: &mut Clocks,
        live: &mut Live,
    ) -> Result<(), Error> {
        self.heed(live, Needed::Builds)?;
        let name = || build.name.clone();
        if live.is_blind && !std::mem::replace(&mut clocks.has_told_blind, true) {
            self.say("these credentials may not see pods: the build is waited for without its log");
        }
        let stuck = trouble(build, pods);
        if let Some(words) = clocks.news(stuck.as_ref()) {
            self.say(&format!("waiting: {words}"));
        }
        if let Some(since) = clocks.since.filter(|since| since.elapsed() > STUCK) {
            let why = stuck.as_ref().map(|stuck| stuck.words().to_owned()).unwrap_or_default();
            return Err(Error::Stuck { build: name(), seconds: since.elapsed().as_secs(), why });
        }
        if self.started.elapsed() > self.order.timeout {
            let lack = stuck.map_or_else(|| build.condition.words(), |stuck| stuck.words().to_owned());
            let lack = if lack.is_empty() { "it runs".to_owned() } else { lack };
            let (image, seconds) = (self.place().image.clone(), self.order.timeout.as_secs());
            let namespace = self.place().cluster.namespace.clone();
            return Err(Error::Late { namespace, image, build: name(), seconds, lack });
        }
        if let Some(lost) = live.lost().filter(|lost| lost.since.elapsed() > BLIND) {
            let (seconds, why) = (lost.since.elapsed().as_secs(), lost.error.to_string());
            let answer = tokio::time::timeout(ANSWER, live.refresh()).await;
            if !matches!(answer, Ok(Ok(()))) {
                let (image, stage) = (self.place().image.clone(), self.stands_at());
                let namespace = self.place().cluster.namespace.clone();
                return Err(Error::Unknown { namespace, image, seconds, why, stage });
            }
        }
        if clocks.is_overdue(own_pod(build, pods).is_some_and(is_over)) {
            // A watch may be silent; who does not answer now is asked again.
            let _ = tokio::time::timeout(OVERDUE, live.refresh()).await;
        }
        Ok(())
    }

    /// Ends the wait when a watch is refused that no answer comes without.
    pub(super) fn heed(&self, live: &mut Live, needed: Needed) -> Result<(), Error> {
        let is_refused =
            |error: &_| !self.may_pass(error) && crate::cluster::Error::status(error) == Some(403);
        live.give_up(needed, is_refused).map_or(Ok(()), |error| Err(error.into()))
    }
}

impl Clocks {
    /// Returns what to say, when it is news. Words alternate while the trouble stays one.
    fn news(&mut self, stuck: Option<&Stuck>) -> Option<String> {
        // A node may have room any time, and kpack has nothing to do with it: only `timeout` ends that.
        match stuck {
            Some(Stuck::NoStart(_)) => drop(self.since.get_or_insert_with(Instant::now)),
            Some(Stuck::NoNode(_)) | None => self.since = None,
        }
        let words = stuck.map(Stuck::words);
        let is_news = match (&self.words, words) {
            (Some(said), Some(words)) => kind(said) != kind(words),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if is_news || words.is_none() {
            self.words = words.map(str::to_owned);
        }
        self.words.clone().filter(|_| is_news)
    }

    /// Returns whether to look for a verdict: the pod has ended, and none was seen. Each time it takes
    /// longer, because kpack's controller may be away.
    fn is_overdue(&mut self, is_over: bool) -> bool {
        if !is_over {
            self.over = None;
            return false;
        }
        let (since, patience) = self.over.get_or_insert_with(|| (Instant::now(), OVERDUE));
        let is_late = since.elapsed() > *patience;
        if is_late {
            (*since, *patience) = (Instant::now(), (*patience * 2).min(BLIND));
        }
        is_late
    }
}

/// `ErrImagePull` and `ImagePullBackOff` of one step take turns for as long as it lasts.
fn kind(words: &str) -> &str {
    let what = words.split(" cannot start: ").next().unwrap_or_default();
    if words.contains("ImagePull") { what } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_start(words: &str) -> Stuck {
        Stuck::NoStart(format!("step analyze cannot start: {words}"))
    }

    #[test]
    fn what_keeps_a_build_is_said_once_however_its_words_alternate() {
        let mut clocks = Clocks::default();
        assert!(clocks.news(Some(&no_start("ErrImagePull: x"))).is_some());
        assert_eq!(clocks.news(Some(&no_start("ImagePullBackOff: y"))), None);
        assert_eq!(clocks.news(None), None);
        assert!(clocks.news(Some(&no_start("ErrImagePull: x"))).is_some());
    }

    #[test]
    fn a_pod_that_waits_for_room_has_no_clock_but_the_timeout() {
        let mut clocks = Clocks::default();
        assert!(clocks.news(Some(&Stuck::NoNode("no node takes it".to_owned()))).is_some());
        assert!(clocks.since.is_none());
        clocks.news(Some(&no_start("ErrImagePull")));
        assert!(clocks.since.is_some());
        clocks.news(Some(&Stuck::NoNode("no node takes it".to_owned())));
        assert!(clocks.since.is_none());
    }

    #[test]
    fn a_verdict_is_looked_for_when_its_pod_has_ended_for_a_while() {
        let mut clocks = Clocks::default();
        assert!(!clocks.is_overdue(false) && !clocks.is_overdue(true));
        let at = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        clocks.over = Some((at(3), OVERDUE));
        assert!(clocks.is_overdue(true) && !clocks.is_overdue(true));
        assert_eq!(clocks.over.unwrap().1, OVERDUE * 2);
        assert!(!clocks.is_overdue(false));
        assert!(clocks.over.is_none());
    }
}
