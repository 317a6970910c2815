//! Everything that the preflight rules want to know beside the workload itself, asked at once and
//! bounded in time. A question that nobody answers is [`Asked::Unknown`] and stops nothing: the rules
//! that need its answer say that they could not look.

use std::future::Future;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec, SubjectRulesReviewStatus,
};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::time::Instant;

use super::Site;
use super::live::Place;
use super::lock::other_run;
use crate::probe::prometheus;
use crate::rollout::Order;
use crate::rollout::observe::Snapshot;
use crate::rollout::order::window::FIRING;
use crate::rollout::preflight::facts::{Asked, Survey};
use crate::rollout::preflight::rights::{Need, is_allowed, is_of_the_workload, needs};

mod cluster;
mod image;
mod trial;

/// How long one question to the API server may take.
const PIECE: Duration = Duration::from_secs(5);
/// How long all of them may take together.
const WHOLE: Duration = Duration::from_secs(8);

/// Who asks, about what.
#[derive(Clone, Copy)]
pub(super) struct Surveyor<'a> {
    pub(super) site: &'a Site<'a>,
    pub(super) place: &'a Place,
    pub(super) order: &'a Order,
    pub(super) snapshot: &'a Snapshot,
    until: Instant,
}

/// What was found out, and what is to be said about questions that went wrong.
pub(super) struct Surveyed {
    pub(super) survey: Survey,
    /// Why the registry could not be asked about the new image.
    pub(super) registry_trouble: Option<String>,
}

impl<'a> Surveyor<'a> {
    pub(super) fn new(
        site: &'a Site<'a>,
        place: &'a Place,
        order: &'a Order,
        snapshot: &'a Snapshot,
    ) -> Self {
        Self { site, place, order, snapshot, until: Instant::now() + WHOLE }
    }

    /// Asks everything.
    pub(super) async fn survey(&self) -> Surveyed {
        let (
            images,
            namespace,
            references,
            trial,
            owners,
            claimed_by,
            rights,
            clock_skew,
            node_pods,
            alerts,
            lock,
        ) = futures::join!(
            self.nodes_and_images(),
            self.namespace(),
            self.references(),
            self.trial(),
            self.owners(),
            self.claims(),
            self.rights(),
            self.clock_skew(),
            self.node_pods(),
            self.alerts(),
            self.ask("get leases", other_run(self.place, self.order)),
        );
        let survey = Survey {
            now: Timestamp::now(),
            server: self.site.cluster.version.as_deref().and_then(version),
            clock_skew,
            image: images.new,
            other_images: images.others,
            running: images.running,
            nodes: images.nodes,
            node_pods,
            references,
            trial,
            owners,
            claimed_by,
            rights_missing: rights,
            alerts,
            lock,
            ..namespace
        };
        Surveyed { survey, registry_trouble: images.trouble }
    }

    /// Asks the registry about the new images alone: nothing is going to be written.
    pub(super) async fn only_the_images(&self) -> Surveyed {
        let found = self.new_images().await;
        let survey = Survey { image: found.new, other_images: found.others, ..Survey::default() };
        Surveyed { survey, registry_trouble: found.trouble }
    }

    /// Asks one question; `what` completes "the credentials may not …".
    async fn ask<T>(&self, what: &str, question: impl Future<Output = kube::Result<T>>) -> Asked<T> {
        let until = self.until.min(Instant::now() + PIECE);
        match tokio::time::timeout_at(until, question).await {
            Ok(Ok(answer)) => Asked::Known(answer),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => Asked::Unknown(what.to_owned()),
            Ok(Err(kube::Error::Api(status))) => Asked::Unknown(format!("{what} ({})", status.code)),
            Ok(Err(_)) => Asked::Unknown(format!("{what} (failed)")),
            Err(_) => Asked::Unknown(format!("{what} (no answer in time)")),
        }
    }

    /// Finds out which rights are missing: from the API server's list of rules, and one by one where
    /// that list is said to be incomplete.
    pub(super) async fn rights(&self) -> Asked<Vec<Need>> {
        let status = self.rules().await;
        let rules = status.as_ref().map_or(&[][..], |status| status.resource_rules.as_slice());
        let lacking: Vec<&Need> =
            needs(self.place.kind).filter(|need| !is_allowed(rules, need, &self.place.name)).collect();
        if status.is_some_and(|status| !status.incomplete) {
            return Asked::Known(lacking.into_iter().copied().collect());
        }
        let answers = join_all(lacking.iter().map(|need| self.may(need))).await;
        let mut missing = Vec::new();
        for (need, answer) in lacking.into_iter().zip(answers) {
            match answer {
                Asked::Known(true) => {}
                Asked::Known(false) => missing.push(*need),
                Asked::Unknown(why) => return Asked::Unknown(why),
            }
        }
        Asked::Known(missing)
    }

    async fn rules(&self) -> Option<SubjectRulesReviewStatus> {
        let spec = SelfSubjectRulesReviewSpec { namespace: Some(self.place.namespace.clone()) };
        let review = SelfSubjectRulesReview { spec, ..Default::default() };
        let api: Api<SelfSubjectRulesReview> = Api::all(self.place.cluster.client.clone());
        let parameters = PostParams::default();
        let asked = self.ask("list its own rights", api.create(&parameters, &review)).await;
        asked.known().and_then(|review| review.status.clone())
    }

    async fn may(&self, need: &Need) -> Asked<bool> {
        let (resource, subresource) = need.resource.split_once('/').unwrap_or((need.resource, ""));
        let attributes = ResourceAttributes {
            namespace: Some(self.place.namespace.clone()),
            verb: Some(need.verb.to_owned()),
            group: Some(need.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()).filter(|text| !text.is_empty()),
            name: is_of_the_workload(need).then(|| self.place.name.clone()),
            ..Default::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
            ..Default::default()
        };
        let api: Api<SelfSubjectAccessReview> = Api::all(self.place.cluster.client.clone());
        let parameters = PostParams::default();
        match self.ask("ask for its own rights", api.create(&parameters, &review)).await {
            Asked::Known(review) => Asked::Known(review.status.is_some_and(|status| status.allowed)),
            Asked::Unknown(why) => Asked::Unknown(why),
        }
    }

    /// Asks Prometheus which alerts fire that stop a rollout, if any could.
    async fn alerts(&self) -> Asked<Vec<String>> {
        let Some(freeze) = &self.order.policy.freeze else { return Asked::Known(Vec::new()) };
        let query = prometheus::query(&freeze.prometheus, FIRING, &[]);
        match tokio::time::timeout_at(self.until.min(Instant::now() + PIECE), query).await {
            Ok(Ok(samples)) => {
                Asked::Known(freeze.stopping(samples.iter().map(|sample| sample.series.as_str())))
            }
            Ok(Err(error)) => Asked::Unknown(error.to_string()),
            Err(_) => Asked::Unknown("Prometheus does not answer in time".to_owned()),
        }
    }

    /// Compares the API server's clock with ours, to the second.
    async fn clock_skew(&self) -> Asked<i64> {
        let request = http::Request::get("/version").body(kube::client::Body::empty());
        let Ok(request) = request else { return Asked::default() };
        let sent = Timestamp::now().as_second();
        let answer = self.ask("read the API server's clock", self.place.cluster.client.send(request)).await;
        let ours = i64::midpoint(sent, Timestamp::now().as_second());
        let date = answer.known().and_then(|answer| answer.headers().get("date"));
        let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let theirs = date.and_then(|date| Timestamp::try_from(date).ok());
        theirs.map_or_else(
            || Asked::Unknown("the API server's clock".to_owned()),
            |theirs| Asked::Known(theirs.as_second() - ours),
        )
    }
}

/// Reads `v1.34.1+k3s1` as 1 and 34.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    let minor: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_off_what_distributions_make_of_it() {
        for (text, wanted) in [
            ("v1.34.1", Some((1, 34))),
            ("v1.28.5+k3s1", Some((1, 28))),
            ("v1.27-gke.1", Some((1, 27))),
            ("1.30+", Some((1, 30))),
            ("unknown", None),
        ] {
            assert_eq!(version(text), wanted, "{text}");
        }
    }
}
