//! A cluster that went out of sight: every request is refused, and there is no patience left.

use std::future::{Ready, pending, ready};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use kube::client::Body;

use super::*;
use crate::cluster::Cluster;
use crate::exit::Code;
use crate::failure::Explain;
use crate::log::Log;
use crate::registry::Access;
use crate::rollout::driver::Site;
use crate::rollout::driver::live::{Place, Routes};
use crate::rollout::driver::steps::Stop;
use crate::rollout::fixtures::{mk_deployment, mk_order, mk_set, mk_snapshot, with};
use crate::rollout::report::{Progress, Reporter};
use crate::rollout::{Kind, Order};

/// An API server that is not there, and the methods of what it was asked.
#[derive(Clone, Default)]
struct Away(Arc<std::sync::Mutex<Vec<http::Method>>>);

impl tower::Service<http::Request<Body>> for Away {
    type Response = http::Response<Body>;
    type Error = tower::BoxError;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.lock().unwrap().push(request.method().clone());
        ready(Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()))
    }
}

struct Nobody;

impl Reporter for Nobody {
    fn line(&self, _: &str) {}
    fn look(&self, _: &Progress) {}
}

fn mk_cluster(away: &Away) -> Cluster {
    Cluster {
        client: kube::Client::new(away.clone(), "apps"),
        namespace: "apps".to_owned(),
        address: "https://api.test".to_owned(),
        version: None,
    }
}

fn mk_rollout<'a>(site: &'a Site<'a>, order: &'a Order) -> Rollout<'a> {
    let place = Place {
        cluster: site.cluster.clone(),
        namespace: "apps".to_owned(),
        kind: Kind::Deployment,
        surges: true,
        name: "app".to_owned(),
        container: "main".to_owned(),
        others: Vec::new(),
        selector: "app=app".to_owned(),
        routes: Routes::default(),
    };
    Rollout {
        site,
        place,
        order,
        known: std::sync::Mutex::default(),
        started: Instant::now(),
        account: std::sync::Mutex::default(),
        seen: std::sync::Mutex::default(),
        prober: std::sync::Mutex::default(),
        lock: std::sync::Mutex::default(),
        trouble: std::sync::Mutex::default(),
        patience: Duration::ZERO,
    }
}

/// Image `b` is written over `a`, and its pods are on their way.
fn mk_written() -> Snapshot {
    let mut snapshot = mk_snapshot();
    let part = serde_json::json!({ "metadata": { "generation": 2 }, "status": { "observedGeneration": 2 } });
    snapshot.deployment = with(&mk_deployment('b', 3), &part);
    snapshot.replica_sets.push(mk_set(&snapshot.deployment, "2b", 1));
    snapshot
}

#[tokio::test]
async fn an_api_server_that_is_away_for_too_long_leaves_the_outcome_unknown() {
    let away = Away::default();
    let (cluster, order) = (mk_cluster(&away), mk_order('b'));
    let (registry, log) = (Access::default(), Log::to(io::sink()));
    let interrupted = pending().boxed().shared();
    let site = Site { cluster: &cluster, registry: &registry, log: &log, reporter: &Nobody, interrupted };
    let error = mk_rollout(&site, &order).fresh().await.unwrap_err();
    assert!(matches!(&error, Error::Unknown { target, .. } if target == "apps/app"), "{error:?}");
    assert_eq!((error.code(), error.rule()), (Code::Unknown, Some("F901")));
    assert!(error.hint().unwrap().contains("continues from what is there"));
}

#[tokio::test]
async fn a_rollout_that_loses_sight_of_its_pods_neither_fails_nor_goes_back() {
    let away = Away::default();
    let (cluster, order) = (mk_cluster(&away), mk_order('b'));
    let (registry, log) = (Access::default(), Log::to(io::sink()));
    let interrupted = pending().boxed().shared();
    let site = Site { cluster: &cluster, registry: &registry, log: &log, reporter: &Nobody, interrupted };
    let rollout = mk_rollout(&site, &order);
    let snapshot = mk_written();
    let goal = rollout.goal(&snapshot);
    match rollout.steps(&goal, snapshot.clone(), Duration::from_secs(600)).await {
        Err(Stop::Ended(error @ Error::Unknown { .. })) => assert_eq!(error.code(), Code::Unknown),
        Err(Stop::Ended(error)) => panic!("{error}"),
        Err(_) => panic!("it failed, and nobody knows that"),
        Ok(_) => panic!("it went well, and nobody knows that"),
    }
    let result = rollout.drive(goal, snapshot).await;
    let report = rollout.report(result);
    assert_eq!((report.outcome.word(), report.exit, report.rule.as_deref()), ("unknown", 10, Some("F901")));
    assert!(away.0.lock().unwrap().iter().all(|method| method == http::Method::GET), "nothing is written");
}
