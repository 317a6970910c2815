//! How an error reaches a person: the cause chain once, then the remedy on its own line, then an
//! exit code. Every module's error enum implements [`Explain`]; nothing else decides wording.

use std::error::Error;
use std::fmt;

use crate::exit::Code;

/// An error that knows its remedy.
pub trait Explain: Error + Send + Sync + 'static {
    /// Returns what the reader can do about it, one sentence without a final period.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Returns the exit code of a command that ends with this error.
    fn code(&self) -> Code {
        Code::Failed
    }
}

/// Any module's error, ready to be printed once.
#[derive(Debug)]
pub struct Failure(Box<dyn Explain>);

impl Failure {
    /// Returns the remedy, if the error knows one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.0.hint()
    }

    /// Returns the exit code that the error asks for.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code()
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

/// Returns the remedy for a file that could not be written, where the cause has one.
#[must_use]
pub fn storage_hint(error: &std::io::Error) -> Option<String> {
    use std::io::ErrorKind::{
        FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let hint = match error.kind() {
        StorageFull | QuotaExceeded => "the disk is full: give the worker more room, or fetch less",
        FileTooLarge => "the disk, or a limit of the process, takes no file of that size",
        PermissionDenied | ReadOnlyFilesystem => "the directory must be one that this user can write to",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The chain is in the text already, so there is no `source`.
impl Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&chain(&*self.0))
    }
}

/// Returns the chain on one line, leaving out a cause whose text the line already has: some libraries
/// repeat their source in their own message.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line.replace('\n', " ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to read `a.yml`")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no such file")]
    struct Inner;

    impl Explain for Outer {}

    #[test]
    fn chain_is_printed_once_on_one_line() {
        assert_eq!(Failure::from(Outer(Inner)).to_string(), "failed to read `a.yml`: no such file");
    }

    #[test]
    fn full_disk_has_its_remedy() {
        let hint = |kind: std::io::ErrorKind| storage_hint(&kind.into());
        assert!(hint(std::io::ErrorKind::StorageFull).unwrap().starts_with("the disk is full"));
        assert_eq!(hint(std::io::ErrorKind::NotFound), None);
    }
}
