//! A key of an order that says something impossible.

use crate::exit::Code;
use crate::failure::Explain;

/// Which key, what is wrong with it, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` {words}")]
pub struct Wrong {
    key: &'static str,
    words: String,
    hint: &'static str,
}

impl Wrong {
    pub(super) fn new(key: &'static str, words: String, hint: &'static str) -> Self {
        Self { key, words, hint }
    }
}

impl Wrong {
    /// Returns the same words about the option of the command line that stands for the key.
    #[must_use]
    pub fn of_option(self, option: &'static str) -> Self {
        Self { key: option, ..self }
    }

    /// Returns the key.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        self.key
    }
}

impl Explain for Wrong {
    fn hint(&self) -> Option<String> {
        Some(self.hint.to_owned())
    }

    fn code(&self) -> Code {
        Code::Failed
    }
}
