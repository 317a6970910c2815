//! The record of the parts that the supervisor keeps and the host reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How each part is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The parts that were started.
    pub(crate) parts: BTreeMap<String, State>,
    /// Why the lab cannot start.
    pub(crate) failure: Option<String>,
}

/// How one part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It was started.
    Starting,
    /// It has shown that it is there.
    Ready,
    /// It has ended, as the text says.
    Ended(String),
}

impl Record {
    /// Reads the record in the lab's directory; an absent one is that of a lab without parts.
    pub(crate) fn load(data: &Path) -> Self {
        let text = std::fs::read(data.join("parts.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// The first part that has ended, and how.
    pub(crate) fn ended(&self) -> Option<(&str, &str)> {
        self.parts.iter().find_map(|(name, state)| match state {
            State::Ended(how) => Some((name.as_str(), how.as_str())),
            State::Starting | State::Ready => None,
        })
    }
}

/// The file that asks the supervisor to start the part `name` again when it ends, once, and with what more in its
/// environment.
pub(crate) fn restart(data: &Path, name: &str) -> PathBuf {
    data.join(format!("{name}.restart"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_being_written_and_read() {
        let directory = tempfile::tempdir().unwrap();
        let record = Record {
            parts: BTreeMap::from([
                ("etcd".to_owned(), State::Ready),
                ("kubelet".to_owned(), State::Ended("signal 9".to_owned())),
            ]),
            failure: None,
        };
        std::fs::write(directory.path().join("parts.json"), serde_json::to_vec(&record).unwrap()).unwrap();
        let read = Record::load(directory.path());
        assert_eq!(read, record);
        assert_eq!(read.ended(), Some(("kubelet", "signal 9")));
    }

    #[test]
    fn a_lab_that_never_started_has_no_parts() {
        assert_eq!(Record::load(Path::new("/no/such/lab")), Record::default());
    }
}
