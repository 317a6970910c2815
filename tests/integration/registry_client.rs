//! The registry client as the engines use it.

use std::collections::BTreeSet;
use std::time::Duration;

use rollway::failure::Explain;
use rollway::image::Digest;
use rollway::log::Log;
use rollway::registry::{Access, Client, Error, Policy};

use crate::support::registry::{Fault, Login, Registry};

fn client(registry: &Registry) -> Client {
    Client::connect(&registry.repository("app"), &Access::default(), &Log::to(std::io::sink())).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

#[test]
fn identities_are_all_that_a_runtime_may_report() {
    let (runtime, registry) = (runtime(), Registry::plain());
    let amd = digest(&registry.image("app", "amd", &[("a", "1")]));
    let arm = digest(&registry.image("app", "arm", &[("a", "2")]));
    let children = [("linux/amd64", amd.as_str()), ("linux/arm64", arm.as_str())];
    let index = digest(&registry.index("app", "latest", &children));
    let client = client(&registry);
    let configs: Vec<Digest> = [&amd, &arm]
        .map(|child| {
            runtime.block_on(client.manifest(child.as_str())).unwrap().unwrap().config().unwrap().clone()
        })
        .into();
    let wanted: BTreeSet<Digest> =
        [index.clone(), amd.clone(), arm].into_iter().chain(configs.clone()).collect();
    assert_eq!(runtime.block_on(client.identities(&index)).unwrap(), Some(wanted));
    let of_image = BTreeSet::from([amd.clone(), configs[0].clone()]);
    assert_eq!(runtime.block_on(client.identities(&amd)).unwrap(), Some(of_image));
}

#[test]
fn identities_of_a_digest_that_is_gone_are_none() {
    let (runtime, registry) = (runtime(), Registry::plain());
    let gone = digest(&format!("sha256:{}", "0".repeat(64)));
    assert_eq!(runtime.block_on(client(&registry).identities(&gone)).unwrap(), None);
}

#[test]
fn one_client_pings_once() {
    let (runtime, registry) = (runtime(), Registry::plain());
    registry.image("app", "latest", &[]);
    let client = client(&registry);
    for _ in 0..3 {
        runtime.block_on(client.head("latest")).unwrap();
    }
    let head = "HEAD /v2/app/manifests/latest";
    assert_eq!(registry.requests(), ["GET /v2/", head, head, head]);
}

#[test]
fn registry_that_stays_down_is_given_up_at_the_deadline() {
    let (runtime, registry) = (runtime(), Registry::plain());
    for _ in 0..1000 {
        registry.fault("GET /v2/", Fault::status(503));
    }
    let policy = Policy {
        deadline: Duration::from_millis(300),
        first_wait: Duration::from_millis(10),
        longest_wait: Duration::from_millis(20),
        ..Policy::default()
    };
    let error = runtime.block_on(client(&registry).with_policy(policy).head("latest")).unwrap_err();
    let Error::GaveUp { attempts, last, .. } = &error else { panic!("{error}") };
    assert!(*attempts > 3, "{error}");
    assert!(last.to_string().contains("503 Service Unavailable"), "{last}");
}

#[test]
fn answer_that_never_comes_ends_at_the_deadline() {
    let (runtime, registry) = (runtime(), Registry::plain());
    registry.fault("HEAD ", Fault::Late(Duration::from_secs(3600)));
    let policy = Policy { deadline: Duration::from_millis(300), ..Policy::default() };
    let error = runtime.block_on(client(&registry).with_policy(policy).head("latest")).unwrap_err();
    assert!(error.to_string().ends_with("no answer in time"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn login_that_never_ends_does_not_hold_a_push() {
    let (runtime, registry) = (runtime(), Registry::plain().with_login(Login::Anonymous));
    for _ in 0..10 {
        registry.fault("GET /token", Fault::Drip(Duration::from_millis(50)));
    }
    let policy = Policy { deadline: Duration::from_millis(300), ..Policy::default() };
    let client = client(&registry).with_policy(policy);
    let push = client.put_manifest("latest", "application/vnd.oci.image.manifest.v1+json", b"{}");
    let pushed = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), push).await });
    let error = pushed.expect("an end").unwrap_err();
    assert!(error.to_string().contains("no answer in time"), "{error}");
}

#[test]
fn head_by_digest_holds_the_registry_to_it() {
    let (runtime, registry) = (runtime(), Registry::plain());
    let wanted = registry.image("app", "latest", &[]);
    let other = format!("sha256:{}", "0".repeat(64));
    registry.fault("HEAD ", Fault::Header("docker-content-digest", Some(other)));
    let error = runtime.block_on(client(&registry).head(&wanted)).unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

#[test]
fn reference_that_is_none_reaches_no_registry() {
    let (runtime, registry) = (runtime(), Registry::plain());
    for reference in ["", "../x", "a b", "sha256:beef/../x"] {
        assert!(
            matches!(runtime.block_on(client(&registry).head(reference)), Err(Error::Reference { .. })),
            "{reference}"
        );
    }
    assert!(registry.requests().is_empty());
}

#[test]
fn long_lived_client_survives_the_end_of_its_token() {
    let (runtime, registry) = (runtime(), Registry::plain().with_login(Login::Anonymous));
    registry.image("app", "latest", &[]);
    let client = client(&registry);
    assert!(runtime.block_on(client.head("latest")).unwrap().is_some());
    registry.expire_tokens();
    registry.requests();
    assert!(runtime.block_on(client.head("latest")).unwrap().is_some());
    let head = "HEAD /v2/app/manifests/latest";
    assert_eq!(registry.requests(), [head, "GET /token", head]);
}
