//! Every exit code of every executable, in one place.
//!
//! Concourse only tells zero from non-zero; the command line tells more. A resource executable ends
//! with `Done`, `Failed` or `Interrupted`.

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
    /// `rollway plan --strict` found warnings.
    Warned = 3,
    /// A preflight rule forbids to start; nothing was written.
    Blocked = 4,
    /// The new pods did not come up, and the image from before is back on every pod.
    RolledBack = 5,
    /// The new pods did not come up, and the new image was left (or could not be taken back).
    Left = 6,
    /// Somebody else wrote another image meanwhile.
    Superseded = 7,
    /// The workload's owner put the image from before back.
    Reverted = 8,
    /// Somebody paused the workload meanwhile.
    Paused = 9,
    /// The API server was out of sight for too long; what became of it is unknown.
    Unknown = 10,
    /// SIGTERM or SIGINT ended it early; what was left behind was printed.
    Interrupted = 143,
}

impl Code {
    /// Returns the code for Concourse, which tells an interrupted step from a failed one and no more.
    #[must_use]
    pub const fn of_a_resource(self) -> Self {
        match self {
            Self::Done | Self::Usage | Self::Interrupted => self,
            _ => Self::Failed,
        }
    }
}

impl From<Code> for std::process::ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}
