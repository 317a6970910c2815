//! put: rolls the Deployment to an image, by digest, and answers with the state that it reached.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Deserializer;

use super::source::{names, names_schema};
use super::{Error, Source, Version, artifact};
use crate::cluster;
use crate::concourse::{Context, Response};
use crate::failure::Failure;
use crate::registry::Ambient;
use crate::rollout::driver::lines::Lines;
use crate::rollout::driver::{self, Site};
use crate::rollout::order::{
    Canary, Freeze, LONGEST_DRAIN_WAIT, LONGEST_SETTLE, LONGEST_WAIT, Probe, SETTLE, WAIT, Window,
};
use crate::rollout::report::Reporter;
use crate::rollout::several::Together;
use crate::rollout::{Drain, OnFailure, Order, Policy, order, preflight};

/// How long old pods live on after the last endpoint named them, when nobody says. A busy node was
/// seen to act on an endpoint after 5 s, and a SYN that was dropped meanwhile is sent again after 1
/// and 3 s.
const DRAIN_WAIT: u64 = 10;
/// More at a time is a fleet, and no one reads a log of it.
const MOST_PARALLEL: u64 = 50;

/// What to roll out, and how.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PutParams {
    /// The directory of a get that wrote `repository` and `digest` (or `image`). This or `reference`.
    #[serde(deserialize_with = "cluster::optional_text")]
    pub image: Option<String>,
    /// `REPOSITORY@sha256:…`. A tag is refused. This or `image`.
    #[serde(deserialize_with = "cluster::optional_text")]
    pub reference: Option<String>,
    /// The images of containers that get their own, by name: the directory of a get, or
    /// `REPOSITORY@sha256:…`. The others of `source.container` get `image` or `reference`.
    pub containers: BTreeMap<String, String>,
    /// How many workloads are rolled at a time, 1 to 50. No further one is begun when one has failed.
    #[serde(deserialize_with = "at_once")]
    #[schemars(schema_with = "cluster::whole_number_schema")]
    pub max_parallel: u64,
    /// How many seconds the new pods may take to be ready, 0 to 86400; 0 writes the image and does
    /// not wait. Default: 180, and sooner for pods that run and are never ready.
    #[serde(deserialize_with = "seconds")]
    #[schemars(schema_with = "cluster::whole_number_schema")]
    pub wait_until_ready: Option<u64>,
    /// How the old pods leave: `auto`, `detached`, `rolling` or `none`.
    pub drain: Drain,
    /// How many seconds old pods go on serving after the last endpoint named them, 1 to 3600. Less
    /// than 5 trusts every node to be quick.
    #[serde(deserialize_with = "drain_seconds")]
    #[schemars(schema_with = "cluster::whole_number_schema")]
    pub drain_wait: u64,
    /// Preflight rules that may not stop the rollout, by id, one or a list. Default: none.
    #[serde(deserialize_with = "names")]
    #[schemars(schema_with = "names_schema")]
    pub allow: Vec<String>,
    /// Let warnings of the preflight rules stop the rollout too. Default: false.
    #[serde(deserialize_with = "cluster::flag")]
    #[schemars(schema_with = "cluster::flag_schema")]
    pub strict: bool,
    /// What happens to the new image when its pods do not come up: `rollback` or `leave`.
    pub on_failure: OnFailure,
    /// For how many seconds the new pods must hold still once they all serve, 0 to 3600: no restart,
    /// and no pod that loses its readiness twice.
    #[serde(deserialize_with = "settle_seconds")]
    #[schemars(schema_with = "cluster::whole_number_schema")]
    pub settle: u64,
    /// A few new pods go first and are watched; the others follow when all is well, and no old pod is
    /// touched before. Default: none.
    pub canary: Option<Canary>,
    /// What is asked of the application while it is rolled. Default: nothing.
    pub probe: Option<Probe>,
    /// When it may start: in one of these. Default: at any time.
    pub windows: Vec<Window>,
    /// Alerts that stop it before it starts. Default: none.
    pub freeze: Option<Freeze>,
}

impl Default for PutParams {
    fn default() -> Self {
        Self {
            image: None,
            reference: None,
            containers: BTreeMap::new(),
            max_parallel: 1,
            wait_until_ready: None,
            drain: Drain::default(),
            drain_wait: DRAIN_WAIT,
            allow: Vec::new(),
            strict: false,
            on_failure: OnFailure::default(),
            settle: SETTLE.as_secs(),
            canary: None,
            probe: None,
            windows: Vec::new(),
            freeze: None,
        }
    }
}

/// Refuses what cannot work, then rolls.
pub(super) async fn run(
    source: &Source,
    params: &PutParams,
    context: &Context,
) -> Result<Response<Version>, Failure> {
    source.inspect()?;
    params.inspect()?;
    let policy = params.policy()?;
    let artifacts = artifact::of(params, &source.container, &context.directory)?;
    let cluster = source.connect().await?;
    let targets = source.targets(&cluster).await?;
    if source.debug {
        let version = cluster.version.as_deref().unwrap_or("of unknown version");
        context
            .log
            .line(format!("API server {} {version}, namespace {}", cluster.address, cluster.namespace));
    }
    let order = Order {
        image: artifacts.first.image,
        images: artifacts.others,
        tag: artifacts.first.tag,
        wait: Some(params.wait()).filter(|wait| !wait.is_zero()),
        said_wait: params.wait_until_ready.map(Duration::from_secs),
        drain: params.drain,
        drain_wait: Duration::from_secs(params.drain_wait),
        build: context.build.clone(),
        policy,
        on_failure: params.on_failure,
        settle: Duration::from_secs(params.settle),
        canary: params.canary.clone(),
        probe: params.probe.clone(),
    };
    order::inspect(order.wait, order.canary.as_ref(), order.probe.as_ref())?;
    let access = source.registry.access(&Ambient::of(&context.variables));
    let site = Site {
        cluster: &cluster,
        registry: &access,
        log: &context.log,
        reporter: &Lines::to(context.log.clone()),
        interrupted: context.interrupted.clone(),
    };
    let (running, metadata) = match targets.as_slice() {
        [target] => {
            let outcome = driver::roll(&site, target, &order).await.into_result()?;
            (vec![(target.name.clone(), outcome.running)], outcome.fields)
        }
        _ => {
            let named = targets.into_iter().map(|target| {
                let lines: Box<dyn Reporter> = Box::new(Lines::of(context.log.clone(), &target.name));
                (target, lines)
            });
            let at_once = usize::try_from(params.max_parallel).unwrap_or(1);
            driver::roll_all(&site, &named.collect::<Vec<_>>(), &order, at_once).await.into_result()?
        }
    };
    let together = Together::of(&running).ok_or(Error::Disagree)?;
    Ok(Response { version: Version::from(together), metadata })
}

impl PutParams {
    fn inspect(&self) -> Result<(), Error> {
        if !(1..=MOST_PARALLEL).contains(&self.max_parallel) {
            return Err(Error::Parallel { given: self.max_parallel, most: MOST_PARALLEL });
        }
        let bounds = [
            ("wait_until_ready", self.wait().as_secs(), 0, LONGEST_WAIT),
            ("drain_wait", self.drain_wait, 1, LONGEST_DRAIN_WAIT),
            ("settle", self.settle, 0, LONGEST_SETTLE),
        ];
        let wrong = bounds.into_iter().find(|(_, given, least, most)| given < least || given > most);
        wrong.map_or(Ok(()), |(key, given, least, most)| Err(Error::Seconds { key, given, least, most }))
    }

    fn wait(&self) -> Duration {
        self.wait_until_ready.map_or(WAIT, Duration::from_secs)
    }

    fn policy(&self) -> Result<Policy, Error> {
        let allow = preflight::allowed(&self.allow).map_err(Error::NoRule)?;
        Ok(Policy { allow, strict: self.strict, windows: self.windows.clone(), freeze: self.freeze.clone() })
    }
}

fn at_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(cluster::whole_number(deserializer, "a whole number, 1 or more")?.unwrap_or(1))
}

fn settle_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(seconds(deserializer)?.unwrap_or(SETTLE.as_secs()))
}

fn drain_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(seconds(deserializer)?.unwrap_or(DRAIN_WAIT))
}

/// Reads whole seconds. Pipelines pass variables as text, and unset ones as null or as nothing.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    cluster::whole_number(deserializer, "whole seconds, 0 or more")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<PutParams, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn seconds_are_numbers_or_text_that_is_one() {
        for (given, wanted) in
            [("30", Some(30)), ("\"30\"", Some(30)), ("0", Some(0)), ("null", None), ("\"\"", None)]
        {
            let params = read(&format!(r#"{{"wait_until_ready": {given}}}"#)).unwrap();
            assert_eq!(params.wait_until_ready, wanted, "{given}");
            assert_eq!(params.wait().as_secs(), wanted.unwrap_or(180), "{given}");
        }
        for bad in ["-1", "1.5", "\"3m\"", "true", "[]"] {
            let error = read(&format!(r#"{{"drain_wait": {bad}}}"#)).unwrap_err();
            assert!(error.contains("expected whole seconds"), "{bad}: {error}");
        }
    }

    #[test]
    fn waits_that_mean_nothing_are_refused() {
        for json in [r#"{"drain_wait": 0}"#, r#"{"drain_wait": 3601}"#, r#"{"wait_until_ready": 86401}"#] {
            assert!(matches!(read(json).unwrap().inspect(), Err(Error::Seconds { .. })), "{json}");
        }
        assert!(read("{}").unwrap().inspect().is_ok());
    }

    #[test]
    fn rules_to_allow_are_one_or_a_list_and_must_exist() {
        let policy = |json: &str| read(json).unwrap().policy();
        assert_eq!(
            policy(r#"{"allow": "T008", "strict": "true"}"#).unwrap().allow,
            ["T008".to_owned()].into()
        );
        assert_eq!(policy(r#"{"allow": ["D401", "t008"]}"#).unwrap().allow.len(), 2);
        assert!(policy(r#"{"allow": null, "strict": null}"#).unwrap().allow.is_empty());
        assert!(policy(r#"{"strict": true}"#).unwrap().strict);
        let error = policy(r#"{"allow": ["X401"]}"#).unwrap_err();
        assert_eq!(error.to_string(), "`params.allow` names `X401`, and there is no such rule");
    }

    #[test]
    fn drain_is_one_of_four_words() {
        assert_eq!(read(r#"{"drain": "detached"}"#).unwrap().drain, Drain::Detached);
        assert!(read(r#"{"drain": "fast"}"#).unwrap_err().contains("expected one of"));
    }
}
