//! Watches: what changed since a version, then what changes, until a test ends or silences them.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Value, json};

use super::{ApiServer, Filter, World, status_object};

/// In the place of an object's path: all watches end.
const EXPIRED: &str = "expired";
/// The same, without a word.
const ENDED: &str = "ended";
/// The same: watches of a collection tell nothing from now on.
const SILENT: &str = "silent";

impl ApiServer {
    /// Ends every watch as a server does whose history does not go back far enough: with 410 Gone.
    pub(crate) fn expire_watches(&self) {
        let status = status_object(410, "Expired", "too old resource version");
        // Nobody may be watching.
        let _ = self.world().changes.send((EXPIRED.to_owned(), json!({"type": "ERROR", "object": status})));
    }

    /// Ends all watches without a word, as an API server does that is stopped.
    pub(crate) fn end_watches(&self) {
        // Nobody may be watching.
        let _ = self.world().changes.send((ENDED.to_owned(), Value::Null));
    }

    /// Lets the watches of the collection at `path` stay open and tell nothing any more.
    pub(crate) fn silence_watches(&self, path: &str) {
        let mut world = self.world();
        world.silent.push(path.to_owned());
        // Nobody may be watching.
        let _ = world.changes.send((SILENT.to_owned(), json!(path)));
    }
}

impl World {
    /// Tells what changed since the version that the client knows, then what changes from now on.
    pub(super) fn watch(&self, filter: Filter, query: &str) -> Response {
        let since = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
        let since: u64 = since.and_then(|version| version.parse().ok()).unwrap_or(0);
        let newer = |object: &Value| {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            version.parse::<u64>().is_ok_and(|version| version > since)
        };
        let gone = self.deleted.iter().filter(|(path, object)| filter.fits(path, object) && newer(object));
        let gone = gone.map(|(_, object)| line(&json!({"type": "DELETED", "object": object})));
        let missed: Vec<_> = self
            .objects
            .iter()
            .filter(|(path, object)| filter.fits(path, object) && newer(object))
            .map(|(_, object)| line(&json!({"type": "MODIFIED", "object": object})))
            .chain(gone)
            .collect();
        let is_silent = self.silent.iter().any(|path| filter.is_of(path));
        let changes = self.changes.subscribe();
        let events = futures::stream::unfold(Some((changes, filter, is_silent)), |open| async move {
            let (mut changes, filter, mut is_silent) = open?;
            loop {
                let (path, event) = changes.recv().await.ok()?;
                if path == EXPIRED {
                    return Some((line(&event), None));
                }
                if path == ENDED {
                    return None;
                }
                is_silent |= path == SILENT && event.as_str().is_some_and(|path| filter.is_of(path));
                if is_silent {
                    continue;
                }
                if filter.fits(&path, &event["object"]) {
                    return Some((line(&event), Some((changes, filter, is_silent))));
                }
            }
        });
        Body::from_stream(futures::stream::iter(missed).chain(events).boxed()).into_response()
    }
}

fn line(event: &Value) -> std::io::Result<Bytes> {
    Ok(Bytes::from(format!("{event}\n")))
}
