//! The words of a put's log, beside the build's own. Pure.

use super::cause::{Cause, Class};
use super::tail::LINES;
use crate::kpack::{Build, Image};

/// How a step is announced: bold, so that it is found in a long log.
const STEP: anstyle::Style = anstyle::AnsiColor::Cyan.on_default().bold();

/// Returns the heading of a step.
#[must_use]
pub fn heading(step: &str) -> String {
    format!("{STEP}===> {}{STEP:#}", step.to_uppercase())
}

/// Says which build it is, and why it was made.
#[must_use]
pub fn found(build: &Build, is_asked: bool) -> Vec<String> {
    let why = build.why();
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
    let mut lines = vec![format!("build {} is `{}`{why}", build.number_text(), build.name)];
    if is_asked && !build.reasons.iter().any(|reason| reason == "TRIGGER") {
        lines.push("  it began for another reason just now, with all that is current: it counts".to_owned());
    }
    lines
}

/// Says that a build is asked for on `newest`.
#[must_use]
pub fn asks(newest: &Build) -> String {
    format!("asked kpack for a build after build {} (`{}`)", newest.number_text(), newest.name)
}

/// Says that somebody else asked before.
#[must_use]
pub fn coalesces(newest: &Build, value: &str) -> String {
    let who: String = value.chars().filter(|c| !c.is_control()).take(120).collect();
    format!(
        "somebody asked for a build after build {} already ({who}): kpack makes one build of both",
        newest.number_text()
    )
}

/// Says what is wrong with the Image although it can be built.
#[must_use]
pub fn warnings(image: &Image) -> Vec<String> {
    let mut lines = Vec::new();
    if image.is_looping {
        lines.push(format!(
            "warning: the Image `{}` has the annotation `additionalBuildNeeded`, which makes kpack build without \
             end: remove it from the Image",
            image.name
        ));
    }
    if image.builder_up_to_date.status == "False" {
        lines.push(format!("warning: {}", image.builder_up_to_date.words()));
    }
    lines
}

/// Tells a failure: the step, its last lines, the message, what to do.
#[must_use]
pub fn failure(build: &Build, cause: &Cause, tail: &[String]) -> Vec<String> {
    let place = cause.place();
    let mut lines = vec![format!("build {} (`{}`) failed{place}", build.number_text(), build.name)];
    if !tail.is_empty() {
        lines.push(format!("  the last {} lines of that step:", tail.len().min(LINES)));
        lines.extend(tail.iter().map(|line| format!("  | {line}")));
    }
    lines.push(format!("  kpack says: {}", cause.message));
    lines.push(format!("  it is {}", whose(cause.class)));
    lines
}

fn whose(class: Class) -> &'static str {
    match class {
        Class::Infrastructure => "a fault of the infrastructure: the same build may go well next time",
        Class::Source => "a matter of the source: the same build will fail again",
        Class::Configuration => "a matter of how the Image is set up: the same build will fail again",
        Class::Time => "a matter of time: the build did not end within what the Image allows",
    }
}

/// Says how it ended well.
#[must_use]
pub fn success(build: &Build) -> String {
    let seconds = build.seconds().map(|seconds| format!(" after {seconds} s")).unwrap_or_default();
    let image = build.image.as_ref().map_or_else(|| "no image".to_owned(), ToString::to_string);
    format!("build {} succeeded{seconds}: {image}", build.number_text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kpack::fixtures::{mk_build, mk_failed};

    #[test]
    fn a_build_is_named_with_what_it_was_made_for() {
        let mut build = mk_build(7);
        build.reasons = vec!["COMMIT".to_owned()];
        build.changes = Vec::new();
        assert_eq!(found(&build, false), ["build 7 is `app-build-7`: commit"]);
        assert!(found(&build, true)[1].contains("it counts"));
    }

    #[test]
    fn a_failure_is_told_with_the_step_its_last_lines_and_what_kpack_says() {
        let cause = Cause {
            step: Some("detect".to_owned()),
            had_pod: true,
            class: Class::Source,
            message: "no buildpacks participating".to_owned(),
            hint: String::new(),
        };
        let lines = failure(&mk_failed(3), &cause, &["a".to_owned(), "b".to_owned()]);
        assert_eq!(lines[0], "build 3 (`app-build-3`) failed in step detect");
        assert_eq!(lines[1..4], ["  the last 2 lines of that step:", "  | a", "  | b"]);
        assert_eq!(lines[4], "  kpack says: no buildpacks participating");
        let cause = Cause { step: None, ..cause };
        assert!(failure(&mk_failed(3), &cause, &[])[0].ends_with("(`app-build-3`) failed"));
        let cause = Cause { had_pod: false, ..cause };
        assert!(failure(&mk_failed(3), &cause, &[])[0].ends_with("failed before it had a pod"));
    }

    #[test]
    fn a_mark_of_somebody_else_cannot_draw_on_the_log() {
        let said = coalesces(&mk_build(2), "\u{1b}[31mred\n");
        assert!(!said.contains('\u{1b}') && !said.contains('\n'), "{said}");
    }
}
