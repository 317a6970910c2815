//! What the command line of a resource executable asks for: the step by the name it was started
//! under, as Concourse does, or by its first argument, as people do.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::concourse::Step;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) step: Step,
    pub(super) directory: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Step(Arguments),
    Help,
    Version,
    Nothing,
}

pub(super) fn wanted(args: impl IntoIterator<Item = OsString>) -> Wanted {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_default();
    let mut args = args.peekable();
    let by_name = Step::of(&program);
    match args.peek().and_then(|first| first.to_str()) {
        Some("-h" | "--help" | "help") => return Wanted::Help,
        Some("-V" | "--version") => return Wanted::Version,
        _ => {}
    }
    let step = by_name.or_else(|| args.next().and_then(|first| Step::of(&first)));
    match step {
        Some(step) => Wanted::Step(Arguments { step, directory: args.next().map(PathBuf::from) }),
        None => Wanted::Nothing,
    }
}

pub(super) fn usage(name: &str) -> String {
    format!("usage: {name} check | in DIR | out DIR, with the request as JSON on stdin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Wanted {
        wanted(args.iter().map(OsString::from))
    }

    fn step(step: Step, directory: Option<&str>) -> Wanted {
        Wanted::Step(Arguments { step, directory: directory.map(PathBuf::from) })
    }

    #[test]
    fn step_comes_from_the_name_or_the_first_argument() {
        assert_eq!(of(&["/opt/resource/check"]), step(Step::Check, None));
        assert_eq!(of(&["/opt/resource/in", "/tmp/build/get"]), step(Step::Get, Some("/tmp/build/get")));
        assert_eq!(of(&["rollout", "out", "."]), step(Step::Put, Some(".")));
        assert_eq!(of(&["rollout", "in"]), step(Step::Get, None));
    }

    #[test]
    fn anything_else_is_a_person_who_needs_the_usage() {
        assert_eq!(of(&["rollout"]), Wanted::Nothing);
        assert_eq!(of(&["rollout", "roll"]), Wanted::Nothing);
        assert_eq!(of(&[]), Wanted::Nothing);
        assert_eq!(of(&["rollout", "--help"]), Wanted::Help);
        assert_eq!(of(&["/opt/resource/in", "-V"]), Wanted::Version);
    }
}
