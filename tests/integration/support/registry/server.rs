//! How the registry answers: the few paths of the distribution API that clients here use.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use serde_json::json;

use super::tls::{Certificates, TlsListener};
use super::uploads::{self, Pushed};
use super::{Fault, Login, Seen, Shared, digest};

/// Listens on a free port and answers in the background.
pub(super) async fn start(shared: Arc<Shared>, certificates: Option<Certificates>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(handle).layer(DefaultBodyLimit::disable()).with_state((
        shared,
        address,
        certificates.is_some(),
    ));
    match certificates {
        Some(certificates) => {
            tokio::spawn(axum::serve(TlsListener::new(listener, certificates), router).into_future())
        }
        None => tokio::spawn(axum::serve(listener, router).into_future()),
    };
    address
}

type Surroundings = (Arc<Shared>, SocketAddr, bool);

async fn handle(
    State((shared, address, is_tls)): State<Surroundings>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let line = format!("{method} {uri}");
    let authorization =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let fault = {
        let mut state = shared.lock();
        let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        state.seen.push(Seen { line: line.clone(), authorization: authorization.clone(), range });
        let queue =
            state.faults.iter_mut().find(|(start, queue)| line.starts_with(*start) && !queue.is_empty());
        queue.and_then(|(_, queue)| queue.pop_front())
    };
    let origin = format!("{}://{address}", if is_tls { "https" } else { "http" });
    let answer = |replaced: Option<String>| {
        let pushed = Pushed { method: &method, uri: &uri, headers: &headers, body: &body, origin: &origin };
        let mut answer = answer(&shared, &pushed, authorization.as_deref());
        if let Some(body) = replaced {
            answer.headers_mut().remove(header::CONTENT_LENGTH);
            *answer.body_mut() = Body::from(body);
        }
        answer
    };
    match fault {
        None => ranged(answer(None), &headers).await,
        Some(Fault::Whole) => answer(None),
        Some(Fault::Cut(after)) => cut(ranged(answer(None), &headers).await, after).await,
        Some(Fault::Expired) => {
            shared.lock().token += 1;
            ranged(answer(None), &headers).await
        }
        Some(Fault::Answer(status, headers, body)) => {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            response(status, &headers, body.into_bytes())
        }
        Some(Fault::Header(name, value)) => {
            let mut answer = answer(None);
            let name = HeaderName::from_static(name);
            match value {
                Some(value) => {
                    drop(answer.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap()));
                }
                None => drop(answer.headers_mut().remove(name)),
            }
            answer
        }
        Some(Fault::Body(body)) => answer(Some(body)),
        Some(Fault::Late(delay)) => {
            tokio::time::sleep(delay).await;
            answer(None)
        }
        Some(Fault::Drip(pause)) => {
            let drops = futures::stream::repeat(Bytes::from_static(b" ")).then(move |drop| async move {
                tokio::time::sleep(pause).await;
                Ok::<_, std::convert::Infallible>(drop)
            });
            Response::new(Body::from_stream(drops))
        }
        // The server drops the connection of a handler that unwinds; this way says nothing on stderr.
        Some(Fault::Close) => std::panic::resume_unwind(Box::new("close")),
    }
}

fn answer(shared: &Shared, pushed: &Pushed<'_>, authorization: Option<&str>) -> Response<Body> {
    let Pushed { method, uri, origin, .. } = *pushed;
    let mut state = shared.lock();
    if uri.path() == "/token" {
        let wanted = match state.login {
            Login::Bearer(user, password) => Some(basic(user, password)),
            _ => None,
        };
        if wanted.is_some() && wanted.as_deref() != authorization {
            return refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "incorrect username or password");
        }
        let token = format!("token-{}", state.token);
        return response(
            200,
            &[("content-type", "application/json")],
            json!({"token": token}).to_string().into(),
        );
    }
    // A store that uploads are sent to lets in whoever knows the address.
    let is_stored_elsewhere =
        state.uploads.rules.elsewhere.is_some() && uri.query().is_some_and(|it| it.starts_with("state="));
    let challenge = match state.login {
        Login::None => None,
        _ if is_stored_elsewhere => None,
        Login::Basic(user, password) => {
            let is_in = authorization == Some(&basic(user, password));
            (!is_in).then(|| "Basic realm=\"registry\"".to_owned())
        }
        Login::Bearer(..) | Login::Anonymous => {
            let is_in = authorization == Some(&format!("Bearer token-{}", state.token));
            let realm = state.realm.clone().unwrap_or_else(|| format!("{origin}/token"));
            (!is_in).then(|| format!("Bearer realm=\"{realm}\",service=\"registry\""))
        }
    };
    if let Some(challenge) = challenge {
        let mut answer = refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_str(&challenge).unwrap());
        return answer;
    }
    match uploads::answer(&mut state, pushed) {
        Some(answer) => answer,
        None => content(&mut state, method, uri.path()),
    }
}

fn content(state: &mut super::State, method: &Method, path: &str) -> Response<Body> {
    if path == "/v2/" {
        return response(200, &[], Vec::new());
    }
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    if let Some((repository, reference)) = rest.split_once("/manifests/") {
        let key = (repository.to_owned(), reference.to_owned());
        let hidden = state.hidden.get_mut(&key).filter(|left| **left > 0);
        let is_hidden = hidden.map(|left| *left -= 1).is_some();
        return match state.manifests.get(&key).filter(|_| !is_hidden) {
            Some((media_type, bytes)) => {
                let headers =
                    [("content-type", media_type.as_str()), ("docker-content-digest", &digest(bytes))];
                let length = bytes.len().to_string();
                let mut answer =
                    response(200, &headers, if method == Method::HEAD { Vec::new() } else { bytes.clone() });
                answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_str(&length).unwrap());
                answer
            }
            None => refusal(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown"),
        };
    }
    if let Some(repository) = rest.strip_suffix("/tags/list") {
        let names = state.manifests.keys().filter(|(known, _)| known == repository).map(|(_, name)| name);
        let tags: Vec<_> = names.filter(|name| !name.starts_with("sha256:")).collect();
        let body = json!({"name": repository, "tags": tags}).to_string();
        return response(200, &[("content-type", "application/json")], body.into_bytes());
    }
    if let Some((repository, digest)) = rest.split_once("/blobs/")
        && let Some(bytes) = state.blobs.get(&(repository.to_owned(), digest.to_owned()))
    {
        return response(200, &[("content-type", "application/octet-stream")], bytes.clone());
    }
    refusal(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry")
}

/// Answers with the part that was asked for.
async fn ranged(whole: Response<Body>, asked: &HeaderMap) -> Response<Body> {
    let range = asked.get(header::RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes="));
    let Some(start) = range.and_then(|range| range.trim_end_matches('-').parse::<usize>().ok()) else {
        return whole;
    };
    if whole.status() != StatusCode::OK {
        return whole;
    }
    let (mut parts, body) = whole.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let content_range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
    parts.status = StatusCode::PARTIAL_CONTENT;
    parts.headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&content_range).unwrap());
    Response::from_parts(parts, Body::from(bytes.slice(start..)))
}

/// Breaks the connection in the middle of the answer.
async fn cut(whole: Response<Body>, after: usize) -> Response<Body> {
    let (mut parts, body) = whole.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let (first, length) = (bytes.slice(..after.min(bytes.len())), bytes.len());
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    // What was written goes out before the connection is dropped.
    let broken = async {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        Err(std::io::Error::other("cut"))
    };
    let stream = futures::stream::iter([Ok(first)]).chain(futures::stream::once(broken));
    Response::from_parts(parts, Body::from_stream(stream))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = json!({"errors": [{"code": code, "message": message}]}).to_string();
    response(status.as_u16(), &[("content-type", "application/json")], body.into_bytes())
}

pub(super) fn response(status: u16, headers: &[(&str, &str)], body: Vec<u8>) -> Response<Body> {
    let builder = headers
        .iter()
        .fold(Response::builder().status(status), |builder, (name, value)| builder.header(*name, *value));
    builder.body(Body::from(body)).unwrap()
}
