//! What a run leaves behind when it ends before its build has a verdict, in words. Pure.

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was written.
    #[default]
    Nothing,
    /// The Image was so already, and kpack builds it by itself.
    Unchanged,
    /// A change of the Image is on its way: nobody knows whether it arrived.
    Changing,
    /// The Image is changed.
    Changed,
    /// A trigger is on its way.
    Asking,
    /// A trigger is on the newest build.
    Asked,
    /// Somebody else's trigger is there.
    Shared,
    /// The build of this name runs.
    Running(String),
    /// The build of this name failed, and the next try has not begun.
    Failed(String),
}

impl Stage {
    /// Says what is left behind.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Nothing => "nothing was asked for".to_owned(),
            Self::Unchanged => "the Image is as it was ordered, and its build has not begun".to_owned(),
            Self::Changing => "the Image may be changed already, and kpack builds it then".to_owned(),
            Self::Changed => {
                "the Image is changed and its build has not begun: kpack makes it all the same".to_owned()
            }
            Self::Asking => "a build may be asked for already, and kpack makes it then".to_owned(),
            Self::Asked => {
                "a build was asked for and has not begun: kpack makes it all the same".to_owned()
            }
            Self::Shared => {
                "somebody else asked for the build that is waited for, and it has not begun: kpack makes it all \
                 the same"
                    .to_owned()
            }
            Self::Running(build) => format!("build `{build}` goes on in the cluster"),
            Self::Failed(build) => format!("build `{build}` failed, and the next one is not asked for yet"),
        }
    }

    /// Returns whether there is a build to be watched, now or soon.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        !matches!(self, Self::Nothing | Self::Failed(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_on_is_worth_watching() {
        assert!(!Stage::default().goes_on() && !Stage::Failed("b".to_owned()).goes_on());
        for stage in [Stage::Changing, Stage::Asking, Stage::Shared, Stage::Running("b".to_owned())] {
            assert!(stage.goes_on(), "{}", stage.words());
        }
    }

    #[test]
    fn a_build_is_named() {
        assert!(Stage::Running("app-build-2".to_owned()).words().starts_with("build `app-build-2` goes on"));
        assert!(Stage::Failed("app-build-2".to_owned()).words().contains("`app-build-2` failed"));
    }
}
