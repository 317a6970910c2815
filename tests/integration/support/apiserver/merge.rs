//! Merge patches, with the two preconditions that an API server finds in them.

use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{World, refused};

impl World {
    pub(super) fn merge(&mut self, path: &str, body: &[u8]) -> Response {
        let Some(object) = self.objects.get(path) else {
            return refused(404, "NotFound", "not found");
        };
        match merged(object, &serde_json::from_slice(body).unwrap()) {
            Err(refusal) => *refusal,
            Ok(object) => {
                self.store(path, object);
                axum::Json(&self.objects[path]).into_response()
            }
        }
    }
}

/// Returns whether the body is a merge patch.
pub(super) fn is_merge(headers: &axum::http::HeaderMap) -> bool {
    headers.get("content-type").is_some_and(|kind| kind == "application/merge-patch+json")
}

/// Returns the object with the patch in it, or the answer that refuses it.
fn merged(object: &Value, patch: &Value) -> Result<Value, Box<Response>> {
    let wanted = |key: &str| patch["metadata"].get(key).filter(|wanted| **wanted != object["metadata"][key]);
    if let Some(uid) = wanted("uid") {
        let why = format!("metadata.uid: Invalid value: {uid}: field is immutable");
        return Err(Box::new(refused(422, "Invalid", &why)));
    }
    if wanted("resourceVersion").is_some() {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Box::new(refused(409, "Conflict", why)));
    }
    let mut changed = object.clone();
    merge(&mut changed, patch);
    if changed["spec"] != object["spec"] {
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        changed["metadata"]["generation"] = json!(generation);
    }
    Ok(changed)
}

fn merge(object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let map = object.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
