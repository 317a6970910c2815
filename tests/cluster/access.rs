//! The ways into a cluster, and what is said when one of them is shut.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::world::{App, Ended, PATIENCE, Put, ROLLOUT, Shape, World};

const ROLE: &str = "rollway-rollout";
const DRAIN_ROLE: &str = "rollway-rollout-drain";

/// What the project tells people to apply.
const MANIFEST: &str = include_str!("../../k8s/rollout-role.yml");

/// Applies the manifest's roles and binds `names` of them to a service account, as its RoleBindings do.
async fn bind(app: &App, names: &[&str], (namespace, account): (&str, &str)) {
    let apply = PatchParams::apply("test").force();
    let roles: Api<ClusterRole> = Api::all(app.world.client.clone());
    for document in MANIFEST.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document).unwrap();
        if object["kind"] == "ClusterRole" {
            roles
                .patch(object["metadata"]["name"].as_str().unwrap(), &apply, &Patch::Apply(&object))
                .await
                .unwrap();
        }
    }
    for name in names {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }],
        });
        app.api::<RoleBinding>().patch(name, &apply, &Patch::Apply(&binding)).await.unwrap();
        let (verb, group, resource) =
            if *name == ROLE { ("patch", "apps", "deployments") } else { ("delete", "", "pods") };
        let review = json!({ "spec": {
            "user": format!("system:serviceaccount:{namespace}:{account}"),
            "resourceAttributes": {
                "namespace": app.namespace, "verb": verb, "group": group, "resource": resource, "name": "app",
            },
        } });
        until_allowed(&app.world, &serde_json::from_value(review).unwrap()).await;
    }
}

/// The API server's authorizer hears of a binding a moment after it is written.
async fn until_allowed(world: &World, review: &SubjectAccessReview) {
    let reviews: Api<SubjectAccessReview> = Api::all(world.client.clone());
    let started = Instant::now();
    loop {
        let answer = reviews.create(&PostParams::default(), review).await.unwrap();
        if answer.status.is_some_and(|status| status.allowed) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "never allowed: {review:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Creates a service account and returns a token for it.
async fn token(accounts: &Api<ServiceAccount>, name: &str) -> String {
    let account = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    answer.status.unwrap().token
}

/// Returns the API server's URL and its authority in base64, as the kubeconfig has them.
fn cluster(world: &World) -> (String, String) {
    let kubeconfig: Value = serde_saphyr::from_str(&world.kubeconfig).unwrap();
    let cluster = &kubeconfig["clusters"][0]["cluster"];
    let text = |key: &str| cluster[key].as_str().unwrap().to_owned();
    (text("server"), text("certificate-authority-data"))
}

async fn put(app: &App, context: &str, image: &str) -> Ended {
    let mut request = app.request(json!({ "reference": image, "wait_until_ready": 90 }));
    request["source"]["context"] = context.into();
    Put::start(ROLLOUT, "out", request).await.end().await
}

async fn check(source: &Value) -> Ended {
    Put::start(ROLLOUT, "check", json!({ "source": source })).await.end().await
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn every_context_with_full_rights_detaches_the_old_pods() {
    let world = World::connect().await;
    let image = world.publish("11.0.5", &[]).await;
    let app = world.deploy(Shape { replicas: 1, ..Shape::dies_at_once(&image) }).await;
    let settings = app.view().await.settings();
    bind(&app, &[ROLE, DRAIN_ROLE], ("rollway", "deployer")).await;
    for (context, runtime) in [("admin", "11.0.6"), ("certificate", "11.0.7"), ("deployer", "11.0.8")] {
        let image = world.publish(runtime, &[]).await;
        let ended = put(&app, context, &image).await;
        assert!(ended.success, "{context}: {}", ended.stderr);
        assert!(ended.stderr.contains("drain detached"), "{context}: {}", ended.stderr);
        assert!(!ended.stderr.contains("warning"), "{context}: {}", ended.stderr);
        app.view().await.assert_settled(&image, 1, &settings);
    }
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn without_the_drain_role_it_rolls_and_says_before_and_after_what_it_can_lose() {
    let world = World::connect().await;
    let (old, new) = (world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await);
    let app = world.deploy(Shape { replicas: 2, ..Shape::dies_at_once(&old) }).await;
    let settings = app.view().await.settings();
    bind(&app, &[ROLE], ("rollway", "deployer")).await;
    let ended = put(&app, "deployer", &new).await;
    assert!(ended.success, "{}", ended.stderr);
    let mut rest = ended.stderr.as_str();
    for words in [
        "drain rolling: adds before it removes (the old pods cannot be detached: the credentials may not delete replicasets)",
        "warning: 2 old pods stop serving while they still get traffic",
        "image written",
        "note: with this drain requests may have been lost: 2 old pods",
    ] {
        let found =
            rest.find(words).unwrap_or_else(|| panic!("lacks `{words}` in its place:\n{}", ended.stderr));
        rest = &rest[found..];
    }
    app.view().await.assert_settled(&new, 2, &settings);
    app.remove().await;
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn account_without_any_role_is_told_which_role_it_lacks() {
    let world = World::connect().await;
    let source = json!({
        "kubeconfig": world.kubeconfig, "context": "deployer", "namespace": "default", "deployment": "app",
    });
    check(&source).await.assert_refused(&[
        "deployments.apps \"app\" is forbidden",
        "system:serviceaccount:rollway:deployer",
        "hint: let the Role of that namespace allow it (k8s/rollout-role.yml",
    ]);
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn server_token_and_certificate_authority_are_as_good_as_a_kubeconfig() {
    let world = World::connect().await;
    let image = world.publish("11.0.5", &[]).await;
    let app = world.deploy(Shape { replicas: 1, ..Shape::dies_at_once(&image) }).await;
    let token = token(&app.api(), "robot").await;
    bind(&app, &[ROLE], (&app.namespace, "robot")).await;
    let (server, base64) = cluster(&world);
    let pem = String::from_utf8(STANDARD.decode(&base64).unwrap()).unwrap();
    // Already there, so this only waits until the cluster says so too.
    let version = put(&app, "admin", &image).await.version();
    let trusts = [
        json!({ "certificate_authority": pem }),
        json!({ "certificate_authority": base64 }),
        json!({ "insecure_skip_tls_verify": true }),
        json!({ "insecure_skip_tls_verify": true, "certificate_authority": stranger("stranger") }),
    ];
    for trust in trusts {
        let mut source =
            json!({ "server": server, "token": token, "namespace": app.namespace, "deployment": "app" });
        source.as_object_mut().unwrap().extend(trust.as_object().unwrap().clone());
        let ended = check(&source).await;
        assert!(ended.success, "{trust}: {}", ended.stderr);
        assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), json!([version]), "{trust}");
    }
    app.remove().await;
}

/// The certificate of an authority that signed nothing here, in PEM.
fn stranger(name: &str) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn certificate_of_an_unknown_authority_is_one_line_that_names_the_key() {
    let world = World::connect().await;
    let (server, _) = cluster(&world);
    let source = |trust: Value| {
        let mut source = json!({ "server": server, "token": "canary", "deployment": "app" });
        source.as_object_mut().unwrap().extend(trust.as_object().unwrap().clone());
        source
    };
    let unknown = "signed by an unknown authority";
    // The authorities of most clusters bear the same name, so this is the usual mix-up.
    let namesake = json!({ "certificate_authority": stranger("rollway-lab") });
    for (trust, why) in [
        (json!({}), unknown),
        (json!({ "certificate_authority": stranger("stranger") }), unknown),
        (namesake, "signed by another authority of the same name"),
    ] {
        let ended = check(&source(trust)).await;
        ended.assert_refused(&[&server, why, "hint: set `certificate_authority`"]);
        assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    }
}

#[tokio::test]
#[ignore = "needs the lab"]
async fn token_of_a_deleted_account_is_one_line_that_asks_for_a_new_one() {
    let world = World::connect().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), "rollway");
    let name = format!("gone-{}", std::process::id());
    let token = token(&accounts, &name).await;
    accounts.delete(&name, &DeleteParams::default()).await.unwrap();
    let (server, authority) = cluster(&world);
    let source =
        json!({ "server": server, "token": token, "certificate_authority": authority, "deployment": "app" });
    let started = Instant::now();
    // The API server hears of the deletion a moment later.
    let ended = loop {
        let ended = check(&source).await;
        if ended.stderr.contains("401") || started.elapsed() > PATIENCE {
            break ended;
        }
    };
    ended.assert_refused(&[
        &server,
        "401 Unauthorized",
        "the token or certificate has expired",
        "`kubectl create token`",
    ]);
    assert!(!ended.stderr.contains(&token), "{}", ended.stderr);
}
