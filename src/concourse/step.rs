//! Which of the three steps an executable was started as.

use std::ffi::OsStr;
use std::path::Path;

/// One of a resource type's three executables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// `check`: which versions are there.
    Check,
    /// `in`: fetch one version.
    Get,
    /// `out`: make one version.
    Put,
}

impl Step {
    /// Returns the name of the executable under `/opt/resource`.
    #[must_use]
    pub fn executable(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Get => "in",
            Self::Put => "out",
        }
    }

    /// Returns the name that pipelines use for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Get => "get",
            Self::Put => "put",
        }
    }

    /// Returns the step that the last element of `path` names: `/opt/resource/in` is a get.
    #[must_use]
    pub fn of(path: &OsStr) -> Option<Self> {
        match Path::new(path).file_name()?.to_str()? {
            "check" => Some(Self::Check),
            "in" => Some(Self::Get),
            "out" => Some(Self::Put),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_is_the_last_element_of_the_path() {
        for (path, step) in [
            ("/opt/resource/check", Some(Step::Check)),
            ("in", Some(Step::Get)),
            ("/a/in/out", Some(Step::Put)),
            ("/opt/check/rollout", None),
            ("checker", None),
            ("", None),
        ] {
            assert_eq!(Step::of(OsStr::new(path)), step, "{path}");
        }
    }
}
