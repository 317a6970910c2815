//! How the values of the keys are read: `null` and the empty text are nothing, whatever belongs there,
//! because pipelines fill keys from variables that may be empty; and no secret is in an error.

use std::fmt;
use std::marker::PhantomData;

use secrecy::SecretString;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A value, or nothing.
struct Maybe<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any(PhantomData)).map(Maybe)
    }
}

/// Hands on what is there, and not that there is nothing.
struct Any<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Any<T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        if text.is_empty() { Ok(None) } else { T::deserialize(text.into_deserializer()).map(Some) }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<T>, E> {
        T::deserialize(value.into_deserializer()).map(Some)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<T>, E> {
        T::deserialize(number.into_deserializer()).map(Some)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<T>, E> {
        T::deserialize(number.into_deserializer()).map(Some)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<T>, E> {
        T::deserialize(number.into_deserializer()).map(Some)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Option<T>, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(list)).map(Some)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

/// Reads a value, or nothing.
///
/// # Errors
/// When the value is of another type.
pub(crate) fn or_nothing<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Maybe::deserialize(deserializer).map(|Maybe(value)| value)
}

/// Reads a value; nothing is the default.
///
/// # Errors
/// When the value is of another type.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    or_nothing(deserializer).map(Option::unwrap_or_default)
}

/// Reads a list without what is nothing in it.
///
/// # Errors
/// When the value is no list, or something in it is of another type.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    list_or_nothing(deserializer).map(Option::unwrap_or_default)
}

/// Reads a list without what is nothing in it; one that has nothing else in it is nothing, and an empty
/// one is an empty list.
///
/// # Errors
/// When the value is no list, or something in it is of another type.
pub(crate) fn list_or_nothing<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let Some(written) = or_nothing::<_, Vec<Maybe<T>>>(deserializer)? else { return Ok(None) };
    let is_empty = written.is_empty();
    let list: Vec<T> = written.into_iter().filter_map(|Maybe(value)| value).collect();
    Ok(Some(list).filter(|list| is_empty || !list.is_empty()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Keys {
        #[serde(deserialize_with = "or_default")]
        text: String,
        #[serde(deserialize_with = "or_default")]
        flag: bool,
        #[serde(deserialize_with = "or_nothing")]
        number: Option<u32>,
        #[serde(deserialize_with = "or_nothing")]
        object: Option<Inner>,
        #[serde(deserialize_with = "list")]
        texts: Vec<String>,
        #[serde(deserialize_with = "list_or_nothing")]
        others: Option<Vec<String>>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        key: i8,
    }

    fn read(json: &str) -> Result<Keys, String> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_empty_is_nothing_whatever_belongs_there() {
        let keys = ["text", "flag", "number", "object", "texts", "others"];
        for empty in ["null", r#""""#] {
            for key in keys {
                assert_eq!(read(&format!(r#"{{"{key}": {empty}}}"#)), Ok(Keys::default()), "{key}: {empty}");
            }
        }
        assert_eq!(read(r#"{"texts": ["", null], "others": ["", null]}"#), Ok(Keys::default()));
        assert_eq!(read(r#"{"others": []}"#).unwrap().others, Some(Vec::new()));
    }

    #[test]
    fn what_is_there_is_read_as_what_it_is() {
        let json = r#"{"text": "a", "flag": true, "number": 7, "object": {"key": -1}, "texts": ["", "b"],
            "others": ["c"]}"#;
        let wanted = Keys {
            text: "a".to_owned(),
            flag: true,
            number: Some(7),
            object: Some(Inner { key: -1 }),
            texts: vec!["b".to_owned()],
            others: Some(vec!["c".to_owned()]),
        };
        assert_eq!(read(json), Ok(wanted));
    }

    #[test]
    fn wrong_value_is_named_by_where_it_stands() {
        for (json, words) in [
            (r#"{"text": 7}"#, "text: invalid type: integer `7`, expected a string"),
            (r#"{"flag": "yes"}"#, "flag: invalid type: string \"yes\", expected a boolean"),
            (r#"{"number": 1.5}"#, "number: invalid type: floating point `1.5`, expected u32"),
            (r#"{"object": {"kye": 1}}"#, "object.kye: unknown field `kye`, expected `key`"),
            (r#"{"texts": ["", 7]}"#, "texts[1]: invalid type: integer `7`, expected a string"),
            (r#"{"texts": "a"}"#, "texts: invalid type: string \"a\", expected a sequence"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.starts_with(words), "{json}: {error}");
        }
    }
}
