//! One request from stdin: found in the text, then typed, with errors that name the key, what was
//! there and what belongs there. Values of secret keys are never repeated.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::Explain;

mod explain;
mod lenient;

pub(crate) use explain::kind;

pub use explain::Error;

/// A request whose three parts are found but not yet typed. They are kept as the text that they are:
/// a value would turn the tag `1.10` into `1.1`.
#[derive(Clone, Default, PartialEq)]
pub struct Request {
    source: Option<String>,
    params: Option<String>,
    version: Option<String>,
}

impl Request {
    /// Reads the first JSON value of `text`. Like Go's decoder, and so like every resource that
    /// people know, it takes the three keys in any case and does not look at what follows.
    ///
    /// # Errors
    ///
    /// When there is no JSON object, or a key that no request has.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Box<RawValue>>();
        let text = match values.next() {
            None => return Err(Error::Empty),
            Some(Err(source)) => return Err(Error::Syntax { source }),
            Some(Ok(value)) => value,
        };
        match serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(text.get()) {
            Ok(map) => Self::sorted(map),
            Err(source) => match serde_json::from_str::<Value>(text.get()) {
                Ok(other) => Err(Error::NotAnObject { found: kind(&other) }),
                Err(_) => Err(Error::Syntax { source }),
            },
        }
    }

    fn sorted(map: BTreeMap<String, Box<RawValue>>) -> Result<Self, Error> {
        let mut request = Self::default();
        for (key, value) in map {
            let slot = match key.to_lowercase().as_str() {
                "source" => &mut request.source,
                "params" => &mut request.params,
                "version" => &mut request.version,
                _ => return Err(explain::unknown_key("", &key, &["source", "params", "version"])),
            };
            *slot = Some(value.get()).filter(|text| *text != "null").map(str::to_owned);
        }
        Ok(request)
    }

    /// Returns the typed `source`; an absent one is an empty one.
    ///
    /// # Errors
    ///
    /// When a key is unknown, missing or of a wrong type.
    pub fn source<T: DeserializeOwned>(&self) -> Result<T, Error> {
        written("source", self.source.as_deref().unwrap_or("{}"))
    }

    /// Returns the typed `params`; absent ones are empty ones.
    ///
    /// # Errors
    ///
    /// When a key is unknown, missing or of a wrong type.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, Error> {
        written("params", self.params.as_deref().unwrap_or("{}"))
    }

    /// Returns the typed `version`, if there is one.
    ///
    /// # Errors
    ///
    /// When a key is unknown, missing or of a wrong type.
    pub fn cursor<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        self.version.as_deref().map(|text| written("version", text)).transpose()
    }

    /// Returns the typed `version` of a step that cannot do without.
    ///
    /// # Errors
    ///
    /// When it is missing, or a key of it is unknown, missing or of a wrong type.
    pub fn version<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.cursor()?.ok_or_else(|| Error::Missing { path: "version".to_owned() })
    }

    /// Refuses params, which a check never gets.
    ///
    /// # Errors
    ///
    /// When there are any.
    pub fn without_params(&self) -> Result<(), Error> {
        match self.params.as_deref().map(serde_json::from_str::<Value>) {
            Some(Ok(Value::Object(map))) if map.is_empty() => Ok(()),
            None => Ok(()),
            Some(_) => Err(Error::ParamsOfCheck),
        }
    }
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        self.remedy()
    }
}

/// Reads what belongs to `part`, which the errors name.
///
/// # Errors
///
/// When a key is unknown, missing or of a wrong type.
pub fn typed<T: DeserializeOwned>(part: &str, value: &Value) -> Result<T, Error> {
    lenient::read(value).map_err(|error| explain::refused(part, value, &error))
}

fn written<T: DeserializeOwned>(part: &str, text: &str) -> Result<T, Error> {
    if let Ok(read) = serde_json::from_str(text) {
        return Ok(read);
    }
    if let Some(read) = lenient::lowered(text).and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(read);
    }
    typed(part, &serde_json::from_str(text).map_err(|source| Error::Syntax { source })?)
}

#[cfg(test)]
mod tests;
