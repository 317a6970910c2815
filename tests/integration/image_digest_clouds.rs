//! Amazon, Azure and Google: who is asked, in which order, and what is said when it goes wrong.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use insta::assert_snapshot;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::support::clouds::{AZURE_TOKEN, Clouds, ECR_PASSWORD, GOOGLE_TOKEN};
use crate::support::registry::{Fault, Login, Registry};
use crate::support::toolkit::{Outcome, Toolkit};

const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
const ACR_PASSWORD: &str = "canary-acr-refresh";
const KEY: &str = "AKIDEXAMPLE";
const PRIVATE_KEY: &str = include_str!("support/google-key.pem");

/// A registry, the clouds around it, and an environment that knows them.
struct Place {
    registry: Registry,
    clouds: Clouds,
    toolkit: Toolkit,
}

fn place(login: Login) -> Place {
    let registry = Registry::plain().with_login(login);
    registry.image("app", "latest", &[]);
    let clouds = Clouds::of(&registry.host());
    let toolkit = Toolkit::new()
        .variable("AWS_ENDPOINT_URL_STS", &clouds.url("/"))
        .variable("AWS_ENDPOINT_URL_ECR", &clouds.url("/"))
        .variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", &clouds.url("/"))
        .variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", &clouds.url("/"))
        .variable("GCE_METADATA_HOST", &clouds.host())
        .filter(&registry.host(), "[HOST]")
        .filter(&clouds.host(), "[CLOUD]");
    Place { registry, clouds, toolkit }
}

fn amazon() -> Place {
    place(Login::Basic("AWS", ECR_PASSWORD))
}

impl Place {
    fn check(&self, keys: &Value) -> Outcome {
        let mut source = keys.clone();
        source["tag"] = json!("latest");
        if source["repository"].is_null() {
            source["repository"] = json!(self.registry.repository("app"));
        }
        self.toolkit.step("image-digest", "check", None, &json!({"source": source}).to_string())
    }

    fn succeeds(&self, keys: &Value) -> Vec<String> {
        let outcome = self.check(keys);
        assert_eq!(outcome.code, Some(0), "{outcome}");
        assert_eq!(outcome.json().as_array().map(Vec::len), Some(1), "{outcome}");
        assert!(!outcome.to_string().contains("canary"), "{outcome}");
        self.clouds.words()
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.toolkit = self.toolkit.variable(name, value);
        self
    }
}

fn keys() -> Value {
    json!({"aws_region": "eu-west-1", "aws_access_key_id": KEY, "aws_secret_access_key": "canary-secret"})
}

#[test]
fn key_of_the_source_is_enough_for_amazon() {
    let place = amazon();
    let outcome = place.check(&keys());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
    let asked = place.clouds.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].what, "GetAuthorizationToken");
    assert_eq!(asked[0].body, "{}");
    let authorization = asked[0].header("authorization");
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{authorization}");
    assert!(
        authorization.contains(
            "/eu-west-1/ecr/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target,"
        )
    );
    assert_eq!(asked[0].header("x-amz-security-token"), "");
}

#[test]
fn session_token_is_sent_and_signed() {
    let place = amazon();
    let mut keys = keys();
    keys["aws_session_token"] = json!("canary-session");
    assert_eq!(place.check(&keys).code, Some(0));
    let asked = place.clouds.asked();
    assert_eq!(asked[0].header("x-amz-security-token"), "canary-session");
    assert!(asked[0].header("authorization").contains(";x-amz-security-token;"));
}

#[test]
fn roles_are_assumed_one_with_the_key_of_the_other() {
    let place = amazon();
    let mut keys = keys();
    keys["aws_role_arns"] = json!(["arn:aws:iam::1:role/one", "arn:aws:iam::2:role/two"]);
    assert_eq!(place.check(&keys).code, Some(0));
    let asked = place.clouds.asked();
    let words: Vec<&str> = asked.iter().map(|asked| asked.what.as_str()).collect();
    assert_eq!(
        words,
        ["AssumeRole arn:aws:iam::1:role/one", "AssumeRole arn:aws:iam::2:role/two", "GetAuthorizationToken"]
    );
    for (asked, key) in asked.iter().zip([KEY, "KEY-one", "KEY-two"]) {
        assert!(asked.header("authorization").contains(&format!("Credential={key}/")), "{asked:?}");
    }
    assert_eq!(asked[2].header("x-amz-security-token"), "canary-session-two");
    assert!(asked[0].body.contains("RoleSessionName=rollway"));
}

#[test]
fn repository_without_a_host_is_where_amazon_says() {
    let place = amazon();
    let mut keys = keys();
    keys["repository"] = json!("app");
    assert_eq!(place.succeeds(&keys), ["GetAuthorizationToken"]);
    assert_eq!(place.registry.requests(), ["GET /v2/", "HEAD /v2/app/manifests/latest"]);
    let directory = place.toolkit.folder("get");
    let digest = place.registry.image("app", "latest", &[]);
    let request = json!({"source": keys, "version": {"tag": "latest", "digest": digest},
        "params": {"skip_download": true}});
    let outcome = place.toolkit.step("image-digest", "in", Some(&directory), &request.to_string());
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let named = std::fs::read_to_string(directory.join("repository")).unwrap();
    assert_eq!(named, place.registry.repository("app"));
}

#[test]
fn nobody_is_asked_for_a_password_that_nobody_wants() {
    let place = place(Login::None);
    assert_eq!(place.succeeds(&keys()), [""; 0]);
    assert!(place.registry.seen().iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn machines_own_identities_are_asked_in_amazons_order() {
    let region = json!({"aws_region": "eu-west-1"});
    let credentials = "GET /latest/meta-data/iam/security-credentials/";
    let instance =
        ["PUT /latest/api/token".to_owned(), credentials.to_owned(), format!("{credentials}worker")];
    let place = amazon();
    let words = place.succeeds(&region);
    assert_eq!(words[..3], instance);

    let container = place.clouds.url("/container");
    let place = place.with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container);
    let file = place.toolkit.file("pod-token", "canary-pod\n");
    let place = place.with("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap());
    assert_eq!(place.check(&region).code, Some(0));
    let asked = place.clouds.asked();
    assert_eq!((asked[0].what.as_str(), asked[0].header("authorization")), ("GET /container", "canary-pod"));

    let file = place.toolkit.file("web-token", "canary-web");
    let place = place
        .with("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
        .with("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap());
    assert_eq!(place.check(&region).code, Some(0));
    let asked = place.clouds.asked();
    assert_eq!(asked[0].what, "AssumeRoleWithWebIdentity arn:aws:iam::1:role/pod");
    assert!(
        asked[0].body.ends_with("WebIdentityToken=canary-web") && asked[0].header("authorization").is_empty()
    );

    let place = place.with("AWS_ACCESS_KEY_ID", "ENVKEY").with("AWS_SECRET_ACCESS_KEY", "canary-env");
    assert_eq!(place.check(&region).code, Some(0));
    assert!(place.clouds.asked()[0].header("authorization").contains("Credential=ENVKEY/"));
}

#[test]
fn machine_without_an_identity_is_said_at_once() {
    let place = amazon().with("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
    assert_snapshot!(place.check(&json!({"aws_region": "eu-west-1"})), @r"
    exit 1
    --- stderr
    error: failed to log in to Amazon ECR: there is no access key in the source, and the machine has no identity of its own
    hint: check `aws_access_key_id` and its secret, `aws_region`, and the roles in `aws_role_arns`
    ");
}

#[test]
fn amazons_refusal_is_one_line_without_what_was_sent() {
    let place = amazon();
    let body = json!({"__type": "SignatureDoesNotMatch", "message": "canary-secret\nx-amz-security-token:canary-session"});
    place.clouds.fault("GetAuthorizationToken", 400, &body.to_string());
    let mut keys = keys();
    keys["aws_session_token"] = json!("canary-session");
    assert_snapshot!(place.check(&keys), @r"
    exit 1
    --- stderr
    error: failed to log in to Amazon ECR: POST http://[CLOUD]/: 400 SignatureDoesNotMatch: ***
    hint: check `aws_access_key_id` and its secret, `aws_region`, and the roles in `aws_role_arns`
    ");
}

#[test]
fn cloud_on_a_bad_day_is_asked_again() {
    let place = amazon();
    place.clouds.fault("GetAuthorizationToken", 503, "");
    let outcome = place.check(&keys());
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("retrying in "), "{outcome}");
    // Without a host, there is no registry to ask yet, and it is the same.
    place.clouds.fault("GetAuthorizationToken", 500, "");
    let mut keys = keys();
    keys["repository"] = json!("app");
    let outcome = place.check(&keys);
    assert_eq!(outcome.code, Some(0), "{outcome}");
}

#[test]
fn password_that_ended_before_its_time_is_asked_for_again() {
    let place = amazon();
    place.registry.fault(
        "HEAD ",
        Fault::Answer(401, vec![("www-authenticate", "Basic realm=\"x\"".to_owned())], String::new()),
    );
    let old = json!({"authorizationData": [{"authorizationToken": "QVdTOm9sZA==", "expiresAt": 4_102_444_800_u64}]});
    place.clouds.fault("GetAuthorizationToken", 200, &old.to_string());
    assert_eq!(place.succeeds(&keys()), ["GetAuthorizationToken", "GetAuthorizationToken"]);
}

/// Returns the JSON key of a service account, made with an RSA key that is good for nothing else.
fn google_key(clouds: &Clouds) -> Value {
    json!({"type": "service_account", "client_email": "puller@project.iam.gserviceaccount.com",
        "private_key_id": "k1", "private_key": PRIVATE_KEY, "token_uri": clouds.url("/google/token")})
}

/// Returns the public side of that key.
fn public_key() -> UnparsedPublicKey<Vec<u8>> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(PRIVATE_KEY.as_bytes()).unwrap();
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref().to_vec())
}

#[test]
fn google_gives_a_token_for_a_signature() {
    let place = place(Login::Bearer("oauth2accesstoken", GOOGLE_TOKEN));
    let key = google_key(&place.clouds);
    for key in [key.clone(), json!(key.to_string())] {
        let outcome = place.check(&json!({"gcp_json_key": key}));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
        let asked = place.clouds.asked();
        assert_eq!(asked.len(), 1);
        let assertion = asked[0]
            .body
            .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
        let parts: Vec<&str> = assertion.unwrap().split('.').collect();
        let decoded =
            |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
        assert_eq!(decoded(parts[0]), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        let claims = decoded(parts[1]);
        assert_eq!(claims["iss"], "puller@project.iam.gserviceaccount.com");
        assert_eq!(claims["aud"], place.clouds.url("/google/token"));
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
        assert_eq!(parts.len(), 3);
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        let signed = format!("{}.{}", parts[0], parts[1]);
        public_key().verify(signed.as_bytes(), &signature).unwrap();
    }
}

#[test]
fn google_takes_a_token_or_the_machine() {
    let place = place(Login::Bearer("oauth2accesstoken", GOOGLE_TOKEN));
    assert_eq!(place.succeeds(&json!({"gcp_access_token": GOOGLE_TOKEN})), [""; 0]);
    assert_eq!(place.check(&json!({"gcp_workload_identity": true})).code, Some(0));
    let asked = place.clouds.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("metadata-flavor"), "Google");
    // That server is on the machine: no proxy leads there.
    let place = place.with("http_proxy", "http://127.0.0.1:1").with("no_proxy", "127.0.0.1");
    assert_eq!(place.check(&json!({"gcp_workload_identity": true})).code, Some(0));
}

#[test]
fn google_that_says_no_is_one_line() {
    let place = place(Login::Bearer("oauth2accesstoken", GOOGLE_TOKEN));
    let body = json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."});
    place.clouds.fault("POST /google/token", 400, &body.to_string());
    assert_snapshot!(place.check(&json!({"gcp_json_key": google_key(&place.clouds)})), @r"
    exit 1
    --- stderr
    error: failed to log in to Google's registry: POST http://[CLOUD]/google/token: 400 invalid_grant: Invalid JWT Signature.
    hint: check `gcp_json_key`, and the rights of the service account
    ");
    let place = place.with("GCE_METADATA_HOST", "127.0.0.1:1");
    assert_snapshot!(place.check(&json!({"gcp_workload_identity": true})), @r"
    exit 1
    --- stderr
    error: failed to log in to Google's registry: there is no metadata server here, so this machine has no service account
    hint: check `gcp_json_key`, and the rights of the service account
    ");
}

fn azure() -> Place {
    let place = place(Login::Bearer(NOBODY, ACR_PASSWORD));
    let answer = json!({"refresh_token": ACR_PASSWORD}).to_string();
    place.registry.fault("POST /oauth2/exchange", Fault::Answer(200, Vec::new(), answer));
    place
}

#[test]
fn azures_token_for_the_machine_is_exchanged_at_the_registry() {
    let place = azure();
    let outcome = place.check(&json!({"azure_acr": true, "azure_client_id": "c1"}));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome}");
    let asked = place.clouds.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].query,
        "api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com%2F&client_id=c1"
    );
    assert_eq!(asked[0].header("metadata"), "true");
    let requests = place.registry.requests();
    assert_eq!(
        requests,
        ["GET /v2/", "POST /oauth2/exchange", "GET /token", "HEAD /v2/app/manifests/latest"]
    );
}

#[test]
fn azure_knows_apps_and_service_accounts_too() {
    let place = azure();
    let url = place.clouds.url("/app-identity");
    let place = place.with("IDENTITY_ENDPOINT", &url).with("IDENTITY_HEADER", "canary-header");
    assert_eq!(place.check(&json!({"azure_acr": true})).code, Some(0));
    let asked = place.clouds.asked();
    assert_eq!(asked[0].header("x-identity-header"), "canary-header");
    assert!(asked[0].query.starts_with("api-version=2019-08-01"), "{asked:?}");

    let place = azure();
    let file = place.toolkit.file("federated", "canary-federated\n");
    let authority = place.clouds.url("/");
    let place = place
        .with("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap())
        .with("AZURE_TENANT_ID", "tenant-of-app")
        .with("AZURE_CLIENT_ID", "c2")
        .with("AZURE_AUTHORITY_HOST", &authority);
    let keys = json!({"azure_acr": true, "azure_environment": "AzureChina"});
    assert_eq!(place.check(&keys).code, Some(0));
    let asked = place.clouds.asked();
    assert_eq!(asked[0].what, "POST /tenant-of-app/oauth2/v2.0/token");
    for part in
        ["client_id=c2", "client_assertion=canary-federated&", "management.chinacloudapi.cn%2F.default"]
    {
        assert!(asked[0].body.contains(part), "{asked:?}");
    }
}

#[test]
fn azure_that_says_no_is_one_line() {
    let place = place(Login::Bearer(NOBODY, ACR_PASSWORD));
    let body = format!(
        "{{\"errors\": [{{\"code\": \"UNAUTHORIZED\", \"message\": \"{AZURE_TOKEN} is not of this tenant\"}}]}}"
    );
    place.registry.fault("POST /oauth2/exchange", Fault::Answer(401, Vec::new(), body));
    assert_snapshot!(place.check(&json!({"azure_acr": true})), @r"
    exit 1
    --- stderr
    error: failed to log in to Azure Container Registry: POST http://[HOST]/oauth2/exchange: 401 UNAUTHORIZED: *** is not of this tenant
    hint: check `azure_client_id`, `azure_tenant_id`, and the role `AcrPull` of the identity
    ");
    assert_snapshot!(place.check(&json!({"azure_acr": true, "azure_auth_type": "workload_identity"})), @r"
    exit 1
    --- stderr
    error: failed to log in to Azure Container Registry: `AZURE_FEDERATED_TOKEN_FILE` is not set here, and workload identity needs it
    hint: check `azure_client_id`, `azure_tenant_id`, and the role `AcrPull` of the identity
    ");
}

#[test]
fn keys_that_cannot_be_meant_are_one_clear_line_each() {
    let place = place(Login::None);
    for (keys, error) in [
        (
            json!({"aws_region": "x", "aws_role_arn": "a", "aws_role_arns": ["b"]}),
            "`aws_role_arn` and `aws_role_arns` are both set, and only one of them can count",
        ),
        (
            json!({"aws_region": "x", "aws_access_key_id": "a"}),
            "`aws_access_key_id` is set without `aws_secret_access_key`",
        ),
        (
            json!({"aws_region": "x", "aws_secret_access_key": "canary"}),
            "`aws_secret_access_key` is set without `aws_access_key_id`",
        ),
        (json!({"aws_region": "eu west"}), "`aws_region` is `eu west`, which is no region"),
        (json!({"aws_region": "x", "azure_acr": true}), "`aws_region` and `azure_acr` are both set"),
        (json!({"gcp_json_key": "canary"}), "`gcp_json_key` is not the JSON key of a service account"),
        (
            json!({"gcp_json_key": {"type": "external_account"}}),
            "`gcp_json_key` is of the type `external_account`",
        ),
        (json!({"azure_acr": true, "azure_environment": "Mars"}), "`azure_environment` is `Mars`, and not"),
    ] {
        let outcome = place.check(&keys);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.starts_with(&format!("error: {error}")), "{outcome}");
        assert!(outcome.stderr.lines().count() <= 2 && !outcome.stderr.contains("canary"), "{outcome}");
    }
    assert!(place.registry.requests().is_empty() && place.clouds.words().is_empty());
}

#[test]
fn key_without_effect_is_a_warning() {
    let place = amazon();
    let mut keys = keys();
    keys["aws_ecr_registry_id"] = json!("1234");
    let outcome = place.check(&keys);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(
        outcome.stderr,
        "warning: `aws_ecr_registry_id` has no effect; give the account in `aws_account_id`\n"
    );
}
