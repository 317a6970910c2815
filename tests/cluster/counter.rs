//! A way to the API server that counts, and that can hold a request back: plain http on loopback, as
//! `kubectl proxy` offers it, with the rights of whoever started it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use kube::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::{PATIENCE, World};

/// The counter; it ends when it is dropped.
pub(crate) struct Counter {
    port: u16,
    way: Way,
    task: JoinHandle<()>,
}

/// What a request passes.
#[derive(Clone)]
struct Way {
    client: Client,
    counts: Counts,
    gate: watch::Sender<Gate>,
}

#[derive(Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// The next request of this verb is held.
    Shut(&'static str),
    /// One is held.
    Holds,
}

/// How many requests of each verb there were.
type Counts = Arc<Mutex<BTreeMap<String, usize>>>;

impl Counter {
    pub(crate) async fn start(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (client, gate) = (world.client.clone(), watch::Sender::new(Gate::Open));
        let way = Way { client, counts: Counts::default(), gate };
        let router = Router::new().fallback(forward).with_state(way.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, way, task }
    }

    /// Holds the next request of this verb until it is released.
    pub(crate) fn hold(&self, verb: &'static str) {
        self.way.gate.send_replace(Gate::Shut(verb));
    }

    /// Waits until a request is held.
    pub(crate) async fn held(&self) {
        let mut gate = self.way.gate.subscribe();
        tokio::time::timeout(PATIENCE, gate.wait_for(|gate| *gate == Gate::Holds)).await.unwrap().unwrap();
    }

    pub(crate) fn release(&self) {
        self.way.gate.send_replace(Gate::Open);
    }

    /// Returns a kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self, namespace: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "counted",
            "clusters": [{ "name": "lab", "cluster": { "server": format!("http://127.0.0.1:{}", self.port) } }],
            "users": [{ "name": "anybody", "user": { "token": "none-is-needed" } }],
            "contexts": [{ "name": "counted", "context": {
                "cluster": "lab", "user": "anybody", "namespace": namespace,
            } }],
        })
    }

    /// Returns how many requests came since the last call, by verb.
    pub(crate) fn take(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.way.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the verb of a request, as roles name it, except that a POST and a PUT keep their names.
fn verb(parts: &Parts) -> String {
    let query = parts.uri.query().unwrap_or_default();
    if query.contains("watch=true") || query.contains("watch=1") {
        return "watch".to_owned();
    }
    let mut path = parts.uri.path().trim_matches('/').split('/');
    let version = if path.next() == Some("apis") { path.nth(1) } else { path.next() };
    // A collection: of the cluster, or of a namespace.
    let is_collection = version.is_some() && matches!(path.count(), 1 | 3);
    if parts.method == "GET" && is_collection {
        return "list".to_owned();
    }
    parts.method.as_str().to_lowercase()
}

async fn forward(State(way): State<Way>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let verb = verb(&parts);
    let is_held = way.gate.send_if_modified(|gate| {
        let is_held = matches!(gate, Gate::Shut(shut) if *shut == verb);
        if is_held {
            *gate = Gate::Holds;
        }
        is_held
    });
    if is_held {
        way.gate.subscribe().wait_for(|gate| *gate == Gate::Open).await.unwrap();
    }
    *way.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(verb).or_default() += 1;
    for header in ["authorization", "host", "connection"] {
        parts.headers.remove(header);
    }
    let Ok(body) = to_bytes(body, 16 << 20).await else { return StatusCode::BAD_REQUEST.into_response() };
    let request = axum::http::Request::from_parts(parts, kube::client::Body::from(body));
    match way.client.send(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
