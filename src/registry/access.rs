//! What a pipeline gives us to get into a registry. Nothing here is sent anywhere; see `auth`.

use std::fmt;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::de::Unexpected;
use serde::{Deserialize, Deserializer};

/// Credentials and trust for one registry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// User name; used only together with a password.
    pub username: String,
    /// Password or access token.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String")]
    pub password: SecretString,
    /// Also try plain http. It does not switch off the verification of certificates.
    pub insecure: bool,
    /// PEM certificates to trust beside the system's.
    pub ca_certs: Vec<String>,
}

impl Access {
    /// Returns the credentials when they are complete; half of them counts as none.
    pub(super) fn credentials(&self) -> Option<(&str, &str)> {
        let password = self.password.expose_secret();
        (!self.username.is_empty() && !password.is_empty()).then_some((self.username.as_str(), password))
    }
}

/// Reads a secret. A value of another type is refused without being shown, which serde's own
/// message would do.
///
/// # Errors
/// When the value is not a string.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    struct Visitor;

    impl serde::de::Visitor<'_> for Visitor {
        type Value = SecretString;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretString, E> {
            Ok(SecretString::from(text))
        }

        fn visit_string<E: serde::de::Error>(self, text: String) -> Result<SecretString, E> {
            Ok(SecretString::from(text))
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<SecretString, E> {
            Ok(SecretString::default())
        }

        fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("a boolean"), &self))
        }

        fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("a number"), &self))
        }

        fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("a number"), &self))
        }

        fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<SecretString, E> {
            Err(E::invalid_type(Unexpected::Other("a number"), &self))
        }
    }

    deserializer.deserialize_any(Visitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_credentials_counts_as_none() {
        let access: Access = serde_json::from_str(r#"{"username": "bob"}"#).unwrap();
        assert_eq!(access.credentials(), None);
    }

    #[test]
    fn secret_of_a_wrong_type_is_not_shown() {
        let error = serde_json::from_str::<Access>(r#"{"password": 31337}"#).unwrap_err().to_string();
        assert!(error.contains("a number, expected a string"), "{error}");
        assert!(!error.contains("31337"), "{error}");
    }

    #[test]
    fn debug_output_keeps_the_password_to_itself() {
        let access: Access = serde_json::from_str(r#"{"username": "bob", "password": "canary"}"#).unwrap();
        assert!(!format!("{access:?}").contains("canary"));
    }
}
