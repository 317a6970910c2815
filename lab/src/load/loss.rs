//! The ways to lose a request.

use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};

/// Why a request counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Nothing listened.
    Refused,
    /// The network had no way to the address that the Service chose.
    Unreachable,
    /// The peer cut the connection.
    Reset,
    /// The connection ended before the answer did.
    Eof,
    /// No complete answer in time.
    Timeout,
    /// The server failed.
    #[serde(rename = "status-5xx")]
    Status5xx,
    /// Any other answer than success.
    StatusOther,
    /// Not HTTP, or a stream without its last line.
    Malformed,
    /// This side could not ask, for want of ports, descriptors or room; says nothing about the target.
    Local,
}

impl From<&io::Error> for Loss {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
                Self::Unreachable
            }
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Self::Reset,
            ErrorKind::NotConnected => Self::Reset,
            ErrorKind::UnexpectedEof => Self::Eof,
            ErrorKind::TimedOut => Self::Timeout,
            ErrorKind::InvalidData => Self::Malformed,
            _ => Self::Local,
        }
    }
}

impl Loss {
    /// Judges a status; success is no loss.
    pub(super) fn of_status(status: u16) -> Option<Self> {
        match status {
            200..=299 => None,
            500..=599 => Some(Self::Status5xx),
            _ => Some(Self::StatusOther),
        }
    }
}
