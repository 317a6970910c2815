//! The few calls that the lab itself makes to its API server. Everything else goes through `kubectl` or the product.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::Value;

/// The API server as its administrator sees it.
pub(crate) struct Api {
    client: Client,
    server: String,
    token: String,
}

impl Api {
    /// Connects to the API server on `port` of 127.0.0.1; makes no request yet.
    pub(crate) fn new(port: u16, authority: &str, token: &str) -> anyhow::Result<Self> {
        let authority =
            Certificate::from_pem(authority.as_bytes()).context("the authority is not a certificate")?;
        let client = Client::builder()
            .tls_certs_only([authority])
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .context("failed to make a client for the API server")?;
        Ok(Self { client, server: format!("https://127.0.0.1:{port}"), token: token.to_owned() })
    }

    /// Whether the API server answers and says that it is ready.
    pub(crate) async fn is_ready(&self) -> bool {
        let request = self.client.get(format!("{}/readyz", self.server)).bearer_auth(&self.token);
        request
            .timeout(Duration::from_secs(2))
            .send()
            .await
            .is_ok_and(|response| response.status().is_success())
    }

    /// Whether the only node is Ready.
    pub(crate) async fn has_ready_node(&self, name: &str) -> bool {
        let Ok(node) = self.call(Method::GET, &format!("/api/v1/nodes/{name}"), None).await else {
            return false;
        };
        let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }

    /// Creates an object by POST at `path`; one that exists already is as good.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(object)).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.server);
        let mut request = self.client.request(method.clone(), &url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("failed to send {method} {path}"))?;
        let status = response.status();
        let text =
            response.text().await.with_context(|| format!("failed to read the answer to {method} {path}"))?;
        if !status.is_success() && status != StatusCode::CONFLICT {
            bail!("{method} {path} was answered with {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("the answer to {method} {path} is not JSON"))
    }
}

/// [`Api::is_ready`] for the supervisor, which has no runtime of its own.
pub(crate) fn is_ready_now(port: u16, authority: &str, token: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match (runtime, Api::new(port, authority, token)) {
        (Ok(runtime), Ok(api)) => runtime.block_on(api.is_ready()),
        _ => false,
    }
}
