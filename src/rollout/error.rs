//! Why a rollout did not happen or did not end well: the words, the remedy, and which ending it is.

use super::outcome::{Ending, Retry};
use super::preflight;
use super::verdict::diagnosis::{Cause, Class};
use crate::cluster;
use crate::exit::Code;
use crate::failure::Explain;

/// Why a rollout did not happen or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server said no, or nothing.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// A rule forbids to start.
    #[error("{0}")]
    Preflight(preflight::Refusal),
    /// The new pods were not all ready in time.
    #[error("`{target}` did not reach `{image}` within {seconds} s: {lack}; {}", left.state)]
    Late {
        /// `namespace/deployment`.
        target: String,
        /// The digest, shortened.
        image: String,
        /// How long was waited.
        seconds: u64,
        /// What is missing, in one clause.
        lack: String,
        /// What was left behind.
        left: Box<Left>,
    },
    /// The evidence says that the new pods will not come up.
    #[error("`{target}` cannot reach `{image}`: {cause}; {}", left.state)]
    Failed {
        /// `namespace/deployment`.
        target: String,
        /// The digest, shortened.
        image: String,
        /// What settles it.
        cause: Box<Cause>,
        /// What was left behind.
        left: Box<Left>,
    },
    /// A write was refused for good after the rollout had begun.
    #[error("{error}; {}", left.state)]
    Stuck {
        /// The API server's answer.
        error: cluster::Error,
        /// What was left behind.
        left: Box<Left>,
    },
    /// Somebody else changed the image while this ran.
    #[error("`{target}` was changed to `{image}` by {by} while this rollout ran{}", stranded(*orphans))]
    Superseded {
        /// `namespace/deployment`.
        target: String,
        /// The image that is there now, or is on its way.
        image: String,
        /// Who did it.
        by: String,
        /// Old pods that this rollout took from their ReplicaSet, that serve on, and that nobody ends.
        orphans: usize,
    },
    /// Somebody else put the image from before back while this ran.
    #[error("`{target}` was put back to `{image}` by {by} while this rollout ran")]
    Reverted {
        /// `namespace/deployment`.
        target: String,
        /// The image from before.
        image: String,
        /// Who did it.
        by: String,
    },
    /// Somebody paused it while this ran, and it stayed paused.
    #[error("`{target}` was paused by {by} while this rollout ran, and stayed so for {seconds} s")]
    Paused {
        /// `namespace/deployment`.
        target: String,
        /// Who did it.
        by: String,
        /// For how long this waited.
        seconds: u64,
    },
    /// The Deployment went away.
    #[error("`{target}` was deleted{} while this rollout ran", if let Some(image) = again { format!(" and made again with `{image}`") } else { String::new() })]
    Gone {
        /// `namespace/deployment`.
        target: String,
        /// The image of the Deployment that has the name now, if one has.
        again: Option<String>,
    },
    /// SIGTERM.
    #[error("interrupted: {state}")]
    Interrupted {
        /// What was left behind.
        state: String,
    },
    /// The API server could not be seen for too long to know anything.
    #[error("lost sight of `{target}` for {seconds} s, so the outcome is unknown: {why}")]
    Unknown {
        /// `namespace/deployment`.
        target: String,
        /// For how long.
        seconds: u64,
        /// What came instead of an answer.
        why: String,
    },
}

/// What a rollout that failed left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Whether the image from before is back on every pod.
    pub rolled_back: bool,
    /// What is there now, in one clause.
    pub state: String,
    /// The next command to type, if there is one.
    pub next: Option<String>,
}

impl Error {
    /// Returns which ending this is.
    #[must_use]
    pub const fn ending(&self) -> Ending {
        match self {
            Self::Cluster(_) => Ending::Failed,
            Self::Preflight(_) => Ending::Blocked,
            Self::Late { left, .. } | Self::Failed { left, .. } if left.rolled_back => Ending::RolledBack,
            Self::Late { .. } | Self::Failed { .. } | Self::Stuck { .. } => Ending::Left,
            Self::Superseded { .. } | Self::Gone { .. } => Ending::Superseded,
            Self::Reverted { .. } => Ending::Reverted,
            Self::Paused { .. } => Ending::Paused,
            Self::Interrupted { .. } => Ending::Aborted,
            Self::Unknown { .. } => Ending::Unknown,
        }
    }

    /// Returns the id of the rule that settled it.
    #[must_use]
    pub const fn rule(&self) -> Option<&'static str> {
        match self {
            Self::Preflight(refusal) => Some(refusal.rule),
            Self::Failed { cause, .. } => Some(cause.rule),
            Self::Superseded { .. } => Some("F701"),
            Self::Reverted { .. } => Some("F702"),
            Self::Gone { .. } => Some("F703"),
            Self::Paused { .. } => Some("F704"),
            Self::Late { .. } => Some("F801"),
            Self::Unknown { .. } => Some("F901"),
            Self::Cluster(cluster::Error::NoWorkload { .. }) => Some("T001"),
            Self::Cluster(_) | Self::Stuck { .. } | Self::Interrupted { .. } => None,
        }
    }

    /// Returns whose fault it is.
    #[must_use]
    pub const fn class(&self) -> Option<Class> {
        match self {
            Self::Failed { cause, .. } => Some(cause.class),
            Self::Late { .. } => Some(Class::Time),
            Self::Superseded { .. } | Self::Reverted { .. } | Self::Gone { .. } | Self::Paused { .. } => {
                Some(Class::External)
            }
            _ => None,
        }
    }

    /// Returns whether another try of the same may go better, where that can be told.
    #[must_use]
    pub fn retry(&self) -> Option<Retry> {
        match self {
            Self::Interrupted { .. } | Self::Unknown { .. } | Self::Gone { .. } | Self::Paused { .. } => {
                Some(Retry::Yes)
            }
            Self::Cluster(error) => error.is_transient().then_some(Retry::Yes),
            error => error.class().map(Retry::after),
        }
    }
}

impl Explain for Error {
    fn hint(&self) -> Option<String> {
        let commands = |hint: &str, left: &Left| {
            let next = left.next.as_ref().map(|next| format!("`{next}`"));
            let hint = Some(hint.to_owned()).filter(|hint| !hint.is_empty());
            let parts: Vec<String> = hint.into_iter().chain(next).collect();
            parts.join("; ")
        };
        Some(match self {
            Self::Cluster(error) | Self::Stuck { error, .. } => return error.hint(),
            Self::Preflight(refusal) => refusal.hint.clone(),
            Self::Late { left, .. } => {
                commands("look at the pods above, or give them more time (`wait_until_ready`)", left)
            }
            Self::Failed { cause, left, .. } => commands(&cause.hint, left),
            Self::Superseded { orphans: 0, .. } => {
                "nothing was rolled back; the newer change owns the result".to_owned()
            }
            Self::Superseded { .. } => {
                "put the image that is there now: once its pods are ready, that ends the old ones".to_owned()
            }
            Self::Reverted { by, .. } => {
                format!("change the image where {by} takes it from, else every rollout is put back")
            }
            Self::Paused { target, .. } => {
                let (namespace, name) = target.split_once('/').unwrap_or(("default", target));
                format!(
                    "`kubectl -n {namespace} rollout resume deployment/{name}`, then run the same put again"
                )
            }
            Self::Gone { .. } => "run the same put again once it exists".to_owned(),
            Self::Interrupted { .. } | Self::Unknown { .. } => {
                "run the same put again: it continues from what is there".to_owned()
            }
        })
    }

    fn code(&self) -> Code {
        self.ending().code()
    }
}

/// Returns what is left of a drain that did not get to its end.
fn stranded(orphans: usize) -> String {
    match orphans {
        0 => String::new(),
        1 => "; 1 old pod without an owner serves on".to_owned(),
        _ => format!("; {orphans} old pods without an owner serve on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::verdict::diagnosis::rules;

    fn mk_failed(left: Left) -> Error {
        let cause = Cause {
            class: Class::App,
            rule: "F301",
            words: "container `app` ended twice with exit code 1".to_owned(),
            hint: "read its log".to_owned(),
            pod: None,
            container: None,
            count: 2,
        };
        Error::Failed {
            target: "shop/app".into(),
            image: "sha256:b".into(),
            cause: Box::new(cause),
            left: Box::new(left),
        }
    }

    #[test]
    fn advice_on_another_try_is_that_of_the_catalogue() {
        let target = || "shop/app".to_owned();
        let errors = [
            Error::Gone { target: target(), again: None },
            Error::Paused { target: target(), by: String::new(), seconds: 1 },
            Error::Unknown { target: target(), seconds: 60, why: String::new() },
            Error::Reverted { target: target(), image: String::new(), by: String::new() },
        ];
        for error in errors {
            let rule = rules().find(|rule| Some(rule.id) == error.rule()).unwrap();
            assert_eq!(error.retry(), Some(Retry::by(rule)), "{error}");
        }
    }

    #[test]
    fn pods_that_a_newer_change_leaves_without_an_owner_are_told_with_what_ends_them() {
        let superseded = |orphans| Error::Superseded {
            target: "shop/app".into(),
            image: "app:3".into(),
            by: "`kubectl-set`".into(),
            orphans,
        };
        assert!(superseded(2).to_string().ends_with("; 2 old pods without an owner serve on"));
        assert!(superseded(2).hint().unwrap().starts_with("put the image that is there now"));
        assert!(superseded(0).to_string().ends_with("while this rollout ran"));
        assert!(superseded(0).hint().unwrap().starts_with("nothing was rolled back"));
    }

    #[test]
    fn a_failure_that_went_back_and_one_that_stayed_end_differently() {
        let back = Left { rolled_back: true, state: "rolled back".into(), next: None };
        assert_eq!(mk_failed(back).code(), Code::RolledBack);
        let stays = Left { rolled_back: false, state: "it stays".into(), next: None };
        assert_eq!(mk_failed(stays).code(), Code::Left);
    }

    #[test]
    fn a_failure_says_what_is_the_matter_then_the_state_then_the_next_command() {
        let left = Left { rolled_back: false, state: "it stays".into(), next: Some("kubectl get".into()) };
        let error = mk_failed(left);
        assert_eq!(
            error.to_string(),
            "`shop/app` cannot reach `sha256:b`: container `app` ended twice with exit code 1 (F301); it stays"
        );
        assert_eq!(error.hint().as_deref(), Some("read its log; `kubectl get`"));
        assert_eq!(error.retry(), Some(Retry::No));
    }
}
