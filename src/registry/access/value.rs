//! How the values of the keys are read: `null` is nothing, and no secret is in an error.

use std::fmt;

use secrecy::SecretString;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads a value; `null` is the default, because pipelines fill keys from variables that may be empty.
///
/// # Errors
/// When the value is of another type.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a secret. A value of another type is refused without being shown, which serde's own
/// message would do.
///
/// # Errors
/// When the value is not a string.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = SecretString;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<SecretString, E> {
            Ok(SecretString::from(text))
        }

        fn visit_string<E: Error>(self, text: String) -> Result<SecretString, E> {
            Ok(SecretString::from(text))
        }

        fn visit_unit<E: Error>(self) -> Result<SecretString, E> {
            Ok(SecretString::default())
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("a boolean"), &self))
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("a number"), &self))
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("a number"), &self))
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("a number"), &self))
        }
    }

    deserializer.deserialize_any(Text)
}

/// Reads a secret JSON document: its text, or the object that a pipeline variable holds when the
/// document was stored as one.
///
/// # Errors
/// When the value is neither.
pub(crate) fn document<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    const EXPECTED: &str = "an object, or the text of one";
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(SecretString::default()),
        Value::String(text) => Ok(SecretString::from(text)),
        Value::Object(map) if map.is_empty() => Ok(SecretString::default()),
        object @ Value::Object(_) => Ok(SecretString::from(object.to_string())),
        Value::Bool(_) => Err(D::Error::invalid_type(Unexpected::Other("a boolean"), &EXPECTED)),
        Value::Number(_) => Err(D::Error::invalid_type(Unexpected::Other("a number"), &EXPECTED)),
        Value::Array(_) => Err(D::Error::invalid_type(Unexpected::Seq, &EXPECTED)),
    }
}
