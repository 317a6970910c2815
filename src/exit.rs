//! Every exit code of every executable, in one place.
//!
//! Concourse only tells zero from non-zero; the command line tells more. A resource executable ends
//! with `Done` or `Failed`.

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Everything that was asked for is true now.
    Done = 0,
    /// It is not, and the last line on stderr says why.
    Failed = 1,
    /// The command line itself was wrong; nothing was tried.
    Usage = 2,
    /// SIGTERM or SIGINT ended it early; what was left behind was printed.
    Interrupted = 143,
}

impl From<Code> for std::process::ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}
