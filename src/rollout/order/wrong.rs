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

    /// Returns the same words about what stands for the key elsewhere.
    #[must_use]
    pub fn renamed(self, name: fn(&'static str) -> &'static str) -> Self {
        Self { key: name(self.key), ..self }
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
