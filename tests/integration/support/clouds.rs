//! The endpoints of Amazon, Azure and Google, as far as a login needs them: one server that knows
//! them all by path, and a record of what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// What ECR gives out.
pub(crate) const ECR_PASSWORD: &str = "canary-ecr-password";
/// What Google gives out.
pub(crate) const GOOGLE_TOKEN: &str = "canary-google-token";
/// What Azure gives out; the registry changes it.
pub(crate) const AZURE_TOKEN: &str = "canary-azure-token";

/// A running stand-in; it stops when it is dropped.
pub(crate) struct Clouds {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// What it was, in a word: `GetAuthorizationToken`, `AssumeRole ROLE`, or method and path.
    pub(crate) what: String,
    pub(crate) headers: HeaderMap,
    pub(crate) query: String,
    pub(crate) body: String,
}

impl Asked {
    /// Returns a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    /// Status and body that a request gets in place of the right answer, by its word.
    faults: Mutex<Vec<(String, u16, String)>>,
    /// The host of the registry that ECR names.
    registry: Mutex<String>,
}

impl Clouds {
    /// Starts a stand-in; ECR's registry is at `registry`.
    pub(crate) fn of(registry: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Arc::new(Shared::default());
        registry.clone_into(&mut shared.registry.lock().unwrap());
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let address = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(axum::serve(listener, router).into_future());
            address
        });
        Self { address, shared, _runtime: runtime }
    }

    /// Returns host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns the address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the next request of this word so.
    pub(crate) fn fault(&self, what: &str, status: u16, body: &str) {
        self.shared.faults.lock().unwrap().push((what.to_owned(), status, body.to_owned()));
    }

    /// Returns the requests so far, and forgets them.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }

    /// Returns the words of the requests so far, and forgets them.
    pub(crate) fn words(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.what).collect()
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let body = String::from_utf8_lossy(&body).into_owned();
    let what = word(&method, &uri, &headers, &body);
    let query = uri.query().unwrap_or_default().to_owned();
    shared.asked.lock().unwrap().push(Asked { what: what.clone(), headers, query, body });
    let fault = {
        let mut faults = shared.faults.lock().unwrap();
        faults.iter().position(|(wanted, ..)| *wanted == what).map(|position| faults.remove(position))
    };
    let (status, text) = match fault {
        Some((_, status, body)) => (status, body),
        None => answer(&what, &shared.registry.lock().unwrap()),
    };
    Response::builder().status(status).body(Body::from(text)).unwrap()
}

fn word(method: &Method, uri: &Uri, headers: &HeaderMap, body: &str) -> String {
    if let Some(target) = headers.get("x-amz-target").and_then(|value| value.to_str().ok()) {
        return target.rsplit('.').next().unwrap().to_owned();
    }
    let field = |name: &str| {
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.replace("%3A", ":").replace("%2F", "/"))
    };
    match (field("Action"), field("RoleArn")) {
        (Some(action), Some(role)) => format!("{action} {role}"),
        _ => format!("{method} {}", uri.path()),
    }
}

fn answer(what: &str, registry: &str) -> (u16, String) {
    let instance = "/latest/meta-data/iam/security-credentials";
    let key = |name: &str| {
        json!({"AccessKeyId": format!("KEY-{name}"), "SecretAccessKey": format!("canary-secret-{name}"),
            "Token": format!("canary-session-{name}"), "Code": "Success"})
    };
    match what {
        "GetAuthorizationToken" => {
            let token = STANDARD.encode(format!("AWS:{ECR_PASSWORD}"));
            let datum = json!({"authorizationToken": token, "expiresAt": 4_102_444_800_u64,
                "proxyEndpoint": format!("https://{registry}")});
            (200, json!({"authorizationData": [datum]}).to_string())
        }
        _ if what.starts_with("AssumeRole") => {
            let name = what.rsplit('/').next().unwrap();
            let text = format!(
                "<R><Credentials><AccessKeyId>KEY-{name}</AccessKeyId>\
                 <SecretAccessKey>canary-secret-{name}</SecretAccessKey>\
                 <SessionToken>canary-session-{name}</SessionToken></Credentials></R>"
            );
            (200, text)
        }
        "PUT /latest/api/token" => (200, "imds-session".to_owned()),
        _ if what == format!("GET {instance}/") => (200, "worker".to_owned()),
        _ if what == format!("GET {instance}/worker") => (200, key("worker").to_string()),
        "GET /container" => (200, key("pod").to_string()),
        "POST /google/token" | "GET /computeMetadata/v1/instance/service-accounts/default/token" => (
            200,
            json!({"access_token": GOOGLE_TOKEN, "expires_in": 3599, "token_type": "Bearer"}).to_string(),
        ),
        "GET /metadata/identity/oauth2/token"
        | "GET /app-identity"
        | "POST /tenant-of-app/oauth2/v2.0/token" => {
            (200, json!({"access_token": AZURE_TOKEN, "expires_in": "3599"}).to_string())
        }
        _ => (404, format!("no such path: {what}")),
    }
}
