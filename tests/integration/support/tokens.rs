//! A token server of its own, for what a registry's simple one cannot show: refresh tokens, short
//! lives, servers that know no POST.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri, header};

/// A running token server; it stops when it is dropped.
pub(crate) struct Tokens {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) authorization: Option<String>,
    /// The query of a GET, the form of a POST.
    pub(crate) fields: String,
}

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    answers: Mutex<VecDeque<(&'static str, u16, String)>>,
}

impl Tokens {
    /// Starts a server without answers.
    pub(crate) fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Arc::new(Shared::default());
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let address = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(axum::serve(listener, router).into_future());
            address
        });
        Self { address, shared, _runtime: runtime }
    }

    /// Answers the next request of this method so.
    pub(crate) fn answer(self, method: &'static str, status: u16, body: &str) -> Self {
        self.shared.answers.lock().unwrap().push_back((method, status, body.to_owned()));
        self
    }

    /// Returns its address.
    pub(crate) fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// Returns the requests so far, and forgets them.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let authorization =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let fields = match method {
        Method::POST => String::from_utf8_lossy(&body).into_owned(),
        _ => uri.query().unwrap_or_default().to_owned(),
    };
    shared.asked.lock().unwrap().push(Asked { method: method.to_string(), authorization, fields });
    let mut answers = shared.answers.lock().unwrap();
    let position = answers.iter().position(|(wanted, ..)| *wanted == method.as_str());
    let (status, body) = match position.and_then(|position| answers.remove(position)) {
        Some((_, status, body)) => (status, body),
        None => (405, String::new()),
    };
    Response::builder().status(status).body(Body::from(body)).unwrap()
}
