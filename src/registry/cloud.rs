//! The clouds whose registries know their machines and accounts: how one of them turns what it
//! knows of us into a user name and a password for its registry.
//!
//! Each needs two or three documented HTTP calls, which are made here by hand. The vendors' SDKs would
//! bring a second HTTP stack each, and several times the size of the whole binary, for the same calls.

use std::time::Duration;

use secrecy::SecretString;

pub(super) mod aws;
pub(super) mod azure;
pub(super) mod google;
mod outside;
mod sigv4;

pub(super) use outside::Outside;

use super::{Access, Error};

/// A cloud and what to ask it for.
#[derive(Clone, Debug)]
pub(super) enum Cloud {
    Amazon(aws::Keys),
    Azure(azure::Keys),
    Google(google::Keys),
}

/// The user name and the password that a cloud gave us for its registry.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    pub(super) username: String,
    pub(super) password: SecretString,
    /// How long they can be used, where the cloud says so.
    pub(super) lasts: Option<Duration>,
}

impl Cloud {
    /// Returns the cloud that the keys speak of, if they do.
    pub(super) fn of(access: &Access, host: &str) -> Result<Option<Self>, Error> {
        if let Some(keys) = aws::Keys::of(access, host)? {
            return Ok(Some(Self::Amazon(keys)));
        }
        if let Some(keys) = azure::Keys::of(access, host)? {
            return Ok(Some(Self::Azure(keys)));
        }
        Ok(google::Keys::of(access)?.map(Self::Google))
    }

    /// Returns the secrets among the keys.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::Amazon(keys) => keys.secrets(),
            Self::Azure(_) => Vec::new(),
            Self::Google(keys) => keys.secrets(),
        }
    }
}
