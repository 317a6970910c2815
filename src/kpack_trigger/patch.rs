//! What is written: merge patches that name the uid of what they are for, so that an object that was
//! deleted and made again is never hit, and the spec's also the state that they were made from. Only
//! what differs is in them. Pure.

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::Wrong;
use super::manifest::Manifest;
use super::order::{Changes, Environment};
use crate::kpack::image::{SOURCES, source_kind};
use crate::kpack::{Build, Dialect, Image};
use crate::registry::split_host;

/// Returns the patch that asks for the build after `build`. It does not name the Build's state: a
/// running Build's status changes all the time, and the annotation is right in each of them.
#[must_use]
pub fn trigger(build: &Build, dialect: Dialect, value: &str) -> Value {
    json!({"metadata": {"uid": build.uid, "annotations": {dialect.trigger_key(): value}}})
}

/// Returns the patch that makes the Image what the manifest says, if there is one, with the changes on
/// top; `None` when it is so already. What neither names stays, but for a source of another kind: an
/// Image has one.
///
/// # Errors
///
/// When the Image, or the API version, has no place for a change, or the manifest moves the tag.
pub fn image(
    image: &Image,
    dialect: Dialect,
    manifest: Option<&Manifest>,
    changes: &Changes,
) -> Result<Option<Value>, Wrong> {
    let now = Value::Object(image.spec.clone());
    let given = manifest.map(|manifest| &manifest.object);
    let mut spec = given.map_or_else(|| json!({}), |object| object["spec"].clone());
    if spec["tag"].as_str().is_some_and(str::is_empty) {
        spec.as_object_mut().and_then(|spec| spec.remove("tag"));
    }
    if let Some(said) = spec["tag"].as_str().filter(|said| *said != image.tag) {
        let path = manifest.map(|manifest| manifest.path.clone()).unwrap_or_default();
        return Err(Wrong::TagMoves { path, is: image.tag.clone(), said: said.to_owned() });
    }
    if let Some(source) = spec.get_mut("source").and_then(Value::as_object_mut) {
        for kind in SOURCES.into_iter().filter(|kind| *kind == source_kind(&now)) {
            source.entry(kind).or_insert(Value::Null);
        }
    }
    let mut base = now;
    overlay(&mut base, spec.clone());
    overlay(&mut spec, changed(&image.name, &base, dialect, changes)?);
    let metadata = given.and_then(|object| object["metadata"].as_object()).cloned().unwrap_or_default();
    Ok(of(image, metadata, spec))
}

/// Returns the Image `name` as the manifest has it, with the changes on top.
///
/// # Errors
///
/// When the manifest, or the API version, has no place for a change.
pub fn made(name: &str, dialect: Dialect, manifest: &Manifest, changes: &Changes) -> Result<Value, Wrong> {
    let mut object = manifest.object.clone();
    object["metadata"]["name"] = json!(name);
    let patch = changed(name, &object["spec"], dialect, changes)?;
    overlay(&mut object["spec"], patch);
    Ok(object)
}

/// Returns the merge patch of the changes for the spec `base` of the Image `name`.
fn changed(name: &str, base: &Value, dialect: Dialect, changes: &Changes) -> Result<Value, Wrong> {
    let mut spec = Map::new();
    spec.extend(source(name, base, changes)?.map(|source| ("source".to_owned(), source)));
    if let Some(builder) = &changes.builder {
        let mut reference = json!({"name": builder.name});
        if let Some(kind) = &builder.kind {
            reference["kind"] = json!(kind);
        }
        spec.insert("builder".to_owned(), reference);
    }
    if !changes.env.0.is_empty() {
        let now = base.get("build").and_then(|build| build.get("env"));
        spec.insert("build".to_owned(), json!({"env": environment(now, &changes.env)}));
    }
    if let Some(tags) = &changes.additional_tags {
        if dialect != Dialect::V1Alpha2 {
            return Err(Wrong::NotInDialect { key: "additional_tags", dialect: dialect.to_string() });
        }
        of_one_registry(tags, base["tag"].as_str().unwrap_or_default())?;
        spec.insert("additionalTags".to_owned(), json!(tags));
    }
    if let Some(name) = &changes.service_account {
        spec.insert(dialect.service_account_field().to_owned(), json!(name));
    }
    Ok(Value::Object(spec))
}

/// Puts one merge patch on another, so that both are one; a null stays a null.
fn overlay(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                match below.get_mut(&key) {
                    Some(under) => overlay(under, value),
                    None => {
                        below.insert(key, value);
                    }
                }
            }
        }
        (below, above) => *below = above,
    }
}

/// Returns the patch with what differs, for exactly this state of the Image.
fn of(image: &Image, metadata: Map<String, Value>, spec: Value) -> Option<Value> {
    let spec = differing(spec, Some(&Value::Object(image.spec.clone())));
    let metadata = differing(Value::Object(metadata), Some(&image.metadata));
    if spec.is_none() && metadata.is_none() {
        return None;
    }
    let mut patch = json!({"metadata": metadata.unwrap_or_else(|| json!({}))});
    patch["metadata"]["uid"] = json!(image.uid);
    patch["metadata"]["resourceVersion"] = json!(image.resource_version);
    if let Some(spec) = spec {
        patch["spec"] = spec;
    }
    Some(patch)
}

/// Returns what of a merge patch would change `now`.
fn differing(patch: Value, now: Option<&Value>) -> Option<Value> {
    match patch {
        Value::Object(map) => {
            let differs = |(key, value): (String, Value)| {
                let value = differing(value, now.and_then(|now| now.get(&key)))?;
                Some((key, value))
            };
            let map: Map<String, Value> = map.into_iter().filter_map(differs).collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        Value::Null => now.is_some_and(|now| !now.is_null()).then_some(Value::Null),
        value => (Some(&value) != now).then_some(value),
    }
}

/// Names the fields that a patch changes, without their values.
#[must_use]
pub fn words(patch: &Value) -> String {
    let fields = |part: &str| patch[part].as_object().into_iter().flatten().map(|(key, _)| key.clone());
    let own = fields("metadata").filter(|key| !["uid", "resourceVersion"].contains(&key.as_str()));
    let names: Vec<String> = own.chain(fields("spec")).collect();
    names.join(", ")
}

/// kpack's webhook refuses tags of another registry, and where there is none the last step fails.
fn of_one_registry(tags: &[String], tag: &str) -> Result<(), Wrong> {
    let (registry, _) = split_host(tag);
    let other = tags.iter().find(|other| !tag.is_empty() && split_host(other).0 != registry);
    other.map_or(Ok(()), |other| {
        let (tag, its) = (other.clone(), split_host(other).0.to_owned());
        Err(Wrong::OtherRegistry { tag, its, registry: registry.to_owned() })
    })
}

fn source(image: &str, base: &Value, changes: &Changes) -> Result<Option<Value>, Wrong> {
    let wanted = [
        ("revision", "git", "revision", &changes.revision),
        ("blob_url", "blob", "url", &changes.blob_url),
        ("registry_image", "registry", "image", &changes.registry_image),
    ];
    let given =
        wanted.into_iter().find_map(|(key, kind, field, value)| Some((key, kind, field, value.as_ref()?)));
    let Some((key, kind, field, value)) = given else { return Ok(None) };
    if source_kind(base) != kind {
        let (image, found) = (image.to_owned(), source_kind(base).to_owned());
        return Err(Wrong::OtherSource { key, image, found });
    }
    Ok(Some(json!({ kind: { field: value } })))
}

/// Returns the list as a whole, in its order, with what it does not know kept: a merge patch
/// replaces lists.
fn environment(now: Option<&Value>, wanted: &Environment) -> Value {
    let list = now.and_then(Value::as_array).cloned().unwrap_or_default();
    let name = |item: &Value| item["name"].as_str().unwrap_or_default().to_owned();
    let named: Vec<String> = list.iter().map(name).collect();
    let kept = list.into_iter().filter_map(|item| match wanted.0.get(&name(&item)) {
        None => Some(item),
        Some(None) => None,
        Some(Some(value)) => Some(json!({"name": name(&item), "value": value.expose_secret()})),
    });
    let added = wanted.0.iter().filter(|(name, _)| !named.contains(name)).filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some(json!({"name": name, "value": value.expose_secret()}))
    });
    kept.chain(added).collect()
}

#[cfg(test)]
mod tests;
