//! What a registry takes: blobs in one piece or in parts, mounts, manifests. How much it takes at once
//! and what it knows of mounting is up to the test.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};

use super::server::{refusal, response};
use super::{State, digest};

/// Uploads under way, and how they are taken.
#[derive(Default)]
pub(super) struct Uploads {
    /// What has come of each, by its number.
    open: BTreeMap<u32, Vec<u8>>,
    started: u32,
    pub(super) rules: Rules,
}

/// How a registry takes what is pushed to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Bodies above this many bytes get a 413.
    pub(crate) at_most: Option<usize>,
    /// What `OCI-Chunk-Min-Length` says.
    pub(crate) at_least: Option<usize>,
    /// A mount begins an upload, as in a registry that cannot mount.
    pub(crate) mounts_nothing: bool,
    /// A mount is refused with this status.
    pub(crate) refuses_mounts: Option<u16>,
    /// Tags that are there cannot be written again.
    pub(crate) is_immutable: bool,
    /// Where uploads go: in front of their path, `http://host:port`.
    pub(crate) elsewhere: Option<String>,
    /// Addresses of uploads are whole ones.
    pub(crate) is_absolute: bool,
    /// What is put is shown only after so many questions about it.
    pub(crate) shown_after: u32,
}

/// One request that may push.
pub(super) struct Pushed<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) origin: &'a str,
}

/// Answers a request that pushes; `None` for one that asks.
pub(super) fn answer(state: &mut State, pushed: &Pushed<'_>) -> Option<Response<Body>> {
    let rest = pushed.uri.path().strip_prefix("/v2/")?;
    if state.uploads.rules.at_most.is_some_and(|most| pushed.body.len() > most) {
        return Some(refusal(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "too much at once"));
    }
    match *pushed.method {
        Method::POST => started(state, rest.strip_suffix("/blobs/uploads/")?, pushed),
        Method::PATCH => continued(state, rest.split_once("/blobs/uploads/")?, pushed),
        Method::PUT => match rest.split_once("/blobs/uploads/") {
            Some((repository, number)) => ended(state, (repository, number), pushed),
            None => tagged(state, rest.split_once("/manifests/")?, pushed),
        },
        _ => None,
    }
}

fn started(state: &mut State, repository: &str, pushed: &Pushed<'_>) -> Option<Response<Body>> {
    let rules = state.uploads.rules.clone();
    if let (Some(wanted), Some(from)) = (parameter(pushed.uri, "mount"), parameter(pushed.uri, "from")) {
        if let Some(status) = rules.refuses_mounts {
            return Some(refusal(StatusCode::from_u16(status).unwrap(), "DENIED", "no mounts for you"));
        }
        let found = state.blobs.get(&(from, wanted.clone())).cloned();
        if let Some(bytes) = found.filter(|_| !rules.mounts_nothing) {
            state.blobs.insert((repository.to_owned(), wanted), bytes);
            return Some(response(201, &[], Vec::new()));
        }
    }
    state.uploads.started += 1;
    let number = state.uploads.started;
    state.uploads.open.insert(number, Vec::new());
    let location = location(&rules, repository, number, pushed.origin);
    let mut headers = vec![("location", location)];
    headers.extend(rules.at_least.map(|least| ("oci-chunk-min-length", least.to_string())));
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Some(response(202, &headers, Vec::new()))
}

fn continued(state: &mut State, upload: (&str, &str), pushed: &Pushed<'_>) -> Option<Response<Body>> {
    let (repository, number) = (upload.0, upload.1.parse().ok()?);
    let rules = state.uploads.rules.clone();
    let Some(open) = state.uploads.open.get_mut(&number) else { return Some(unknown()) };
    let range = pushed.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let wanted = format!("{}-{}", open.len(), open.len() + pushed.body.len() - 1);
    if range != Some(&wanted) {
        return Some(response(416, &[("range", &format!("0-{}", open.len()))], Vec::new()));
    }
    open.extend_from_slice(pushed.body);
    let location = location(&rules, repository, number, pushed.origin);
    Some(response(202, &[("location", &location)], Vec::new()))
}

fn ended(state: &mut State, upload: (&str, &str), pushed: &Pushed<'_>) -> Option<Response<Body>> {
    let (repository, number) = (upload.0, upload.1.parse::<u32>().ok()?);
    let Some(mut bytes) = state.uploads.open.remove(&number) else { return Some(unknown()) };
    bytes.extend_from_slice(pushed.body);
    let (wanted, found) = (parameter(pushed.uri, "digest")?, digest(&bytes));
    if wanted != found {
        return Some(refusal(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "not what it should be"));
    }
    state.blobs.insert((repository.to_owned(), wanted), bytes);
    Some(response(201, &[("docker-content-digest", &found)], Vec::new()))
}

/// Takes a manifest only when all that it names is here, as real registries do.
fn tagged(state: &mut State, manifest: (&str, &str), pushed: &Pushed<'_>) -> Option<Response<Body>> {
    let (repository, reference) = (manifest.0.to_owned(), manifest.1.to_owned());
    let kind = pushed.headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_owned();
    let name = digest(pushed.body);
    if let Some(missing) = missing(state, &repository, pushed.body) {
        return Some(refusal(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", &missing));
    }
    let key = (repository.clone(), reference.clone());
    if state.uploads.rules.is_immutable && state.manifests.contains_key(&key) {
        return Some(refusal(StatusCode::BAD_REQUEST, "TAG_INVALID", "the tag is there, and immutable"));
    }
    for reference in [reference, name.clone()] {
        let key = (repository.clone(), reference);
        state.hidden.insert(key.clone(), state.uploads.rules.shown_after);
        state.manifests.insert(key, (kind.clone(), pushed.body.to_vec()));
    }
    Some(response(201, &[("docker-content-digest", &name)], Vec::new()))
}

fn missing(state: &State, repository: &str, manifest: &[u8]) -> Option<String> {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).ok()?;
    let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
    let name =
        |entry: &serde_json::Value| entry["digest"].as_str().map(|it| (repository.to_owned(), it.to_owned()));
    let config = manifest.get("config").cloned();
    let blobs: Vec<_> = config.into_iter().chain(list("layers")).collect();
    let blob = blobs.iter().filter_map(name).find(|key| !state.blobs.contains_key(key));
    let child = list("manifests").iter().filter_map(name).find(|key| !state.manifests.contains_key(key));
    blob.or(child).map(|(_, digest)| digest)
}

fn location(rules: &Rules, repository: &str, number: u32, origin: &str) -> String {
    let path = format!("/v2/{repository}/blobs/uploads/{number}?state=a%2Bb");
    match &rules.elsewhere {
        Some(elsewhere) => format!("{elsewhere}{path}"),
        None if rules.is_absolute => format!("{origin}{path}"),
        None => path,
    }
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&');
    let value = pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1;
    Some(value.replace("%3A", ":").replace("%2F", "/"))
}

fn unknown() -> Response<Body> {
    refusal(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
}
