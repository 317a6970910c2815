//! A deadline around every request but those that stay open on purpose (watches and followed logs).
//! It covers the client's own retries, so that a server that answers 429 for ever ends too.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use kube::client::Body;
use tower::{BoxError, Service};

/// How long one request may take, retries included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A request that took too long.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", REQUEST_TIMEOUT.as_secs())]
pub(super) struct Elapsed;

/// Puts the deadline around a client.
pub(super) struct Layer;

impl<S> tower::Layer<S> for Layer {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { inner }
    }
}

/// A client with the deadline around it.
pub(super) struct Bounded<S> {
    inner: S,
}

impl<S, B> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let open_ended = stays_open(request.uri());
        let answer = self.inner.call(request);
        Box::pin(async move {
            if open_ended {
                return answer.await;
            }
            tokio::time::timeout(REQUEST_TIMEOUT, answer).await.unwrap_or_else(|_| Err(Elapsed.into()))
        })
    }
}

fn stays_open(uri: &http::Uri) -> bool {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.into_iter().any(|pair| matches!(pair, "watch=true" | "watch=1" | "follow=true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_watches_and_followed_logs_stay_open() {
        for (uri, open) in [
            ("/apis/apps/v1/namespaces/a/deployments?watch=true&timeoutSeconds=290", true),
            ("/api/v1/namespaces/a/pods/p/log?&follow=true", true),
            ("/api/v1/namespaces/a/pods?labelSelector=watch%3Dtrue", false),
            ("/version", false),
        ] {
            assert_eq!(stays_open(&uri.parse().unwrap()), open, "{uri}");
        }
    }
}
