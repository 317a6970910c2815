//! The keys of one map of a pipeline: each is taken once with its type, and what is left over is
//! unknown. Values are never printed, because a source holds credentials.

use std::time::Duration;

use serde_json::{Map, Value};

use super::super::{Error, duration};
use crate::concourse::AnyVersion;

pub(super) struct Keys {
    place: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Keys {
    pub(super) fn of(place: impl Into<String>, value: &Value) -> Result<Self, Error> {
        let place = place.into();
        match value {
            Value::Object(map) => Ok(Self { place, map: map.clone(), known: Vec::new() }),
            _ => Err(Error::Invalid { place, reason: "it is not a map".to_owned(), hint: None }),
        }
    }

    pub(super) fn at(&mut self, place: impl Into<String>) {
        self.place = place.into();
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub(super) fn has_map(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_object)
    }

    /// Takes whatever is there; null is nothing.
    pub(super) fn any(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Takes keys that mean something to Concourse and nothing here.
    pub(super) fn ignore(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.any(key);
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, Error> {
        match self.any(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    pub(super) fn required(&mut self, key: &'static str) -> Result<String, Error> {
        self.text(key)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.invalid(format!("`{key}` is missing")))
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<bool, Error> {
        match self.any(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<u64>, Error> {
        match self.any(key) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| self.wrong(key, "a whole number")),
        }
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, Error> {
        match self.text(key)? {
            None => Ok(None),
            Some(text) => {
                duration::parse(&text).map(Some).ok_or_else(|| self.wrong(key, "a duration such as 1m30s"))
            }
        }
    }

    pub(super) fn object(&mut self, key: &'static str) -> Result<Map<String, Value>, Error> {
        match self.any(key) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(_) => Err(self.wrong(key, "a map")),
        }
    }

    pub(super) fn list(&mut self, key: &'static str) -> Result<Vec<Value>, Error> {
        match self.any(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong(key, "a list")),
        }
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Error> {
        let items = self.list(key)?;
        let text = |item| match item {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong(key, "a list of strings")),
        };
        items.into_iter().map(text).collect()
    }

    pub(super) fn version(&mut self, key: &'static str) -> Result<Option<AnyVersion>, Error> {
        let map = self.object(key)?;
        if map.is_empty() {
            return Ok(None);
        }
        let entry = |(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            _ => Err(self.wrong(key, "a map of strings")),
        };
        map.into_iter().map(entry).collect::<Result<_, _>>().map(Some)
    }

    /// Refuses what nobody took.
    pub(super) fn end(self) -> Result<(), Error> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => {
                let suggestion = self.near(key).map(|name| format!("; did you mean `{name}`?"));
                Err(self.invalid(format!("unknown key `{key}`{}", suggestion.unwrap_or_default())))
            }
        }
    }

    /// Refuses only what looks like a misspelt key: at a pipeline's top Concourse drops the rest,
    /// so that people can keep YAML anchors there.
    pub(super) fn end_of_top(self) -> Result<(), Error> {
        let near = self.map.keys().find_map(|key| Some((key, self.near(key)?)));
        near.map_or(Ok(()), |(key, name)| {
            Err(self.invalid(format!("unknown key `{key}`; did you mean `{name}`?")))
        })
    }

    fn near(&self, key: &str) -> Option<&'static str> {
        let distance = |name: &&'static str| strsim::damerau_levenshtein(key, name);
        let nearest = self.known.iter().copied().min_by_key(distance);
        nearest.filter(|name| distance(name) <= 1 + key.len() / 4)
    }

    pub(super) fn wrong(&self, key: &str, expected: &str) -> Error {
        self.invalid(format!("`{key}` is not {expected}"))
    }

    pub(super) fn invalid(&self, reason: String) -> Error {
        Error::Invalid { place: self.place.clone(), reason, hint: None }
    }
}
