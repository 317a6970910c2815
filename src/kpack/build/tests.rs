use super::*;
use crate::kpack::fixtures::{mk_build, recorded};

#[test]
fn a_finished_build_tells_what_it_published_and_from_what() {
    let build = recorded("buildpack").build();
    assert_eq!((build.number, build.generation, build.state), (Some(8), Some(2), State::Succeeded));
    assert_eq!(build.why(), ["buildpack lab/jre 11.0.5 → 11.0.6"]);
    assert_eq!(build.image.as_ref().unwrap().repository, "registry.example.com/apps/demo");
    assert_eq!(build.tag().as_deref(), Some("latest"));
    assert_eq!(build.origin.commit.as_deref(), Some("0dacaee0c0929bb2a624f87a74f1130c99b385ce"));
    assert_eq!(build.seconds(), Some(19));
    assert_eq!(build.owner.as_deref(), Some("c746f437-026a-414c-ad2c-2f018720d32f"));
}

#[test]
fn every_recorded_reason_has_words() {
    for (case, words) in [
        ("commit", "commit 5e5919f39394 → 0dacaee0c092"),
        ("config", "config: env BP_SLEEP added, env GREETING added"),
        ("stack-rebase", "stack: run image sha256:337c70d7dfd6 → sha256:af05df38275d"),
        ("ok-trigger-idle", "triggered on Mon, 23 Nov 2026 19:04:08 +0000"),
        ("fail-detect", "first build"),
    ] {
        assert_eq!(recorded(case).build().why(), [words], "{case}");
    }
    let combined = recorded("combo").build().why();
    assert_eq!(combined.len(), 2);
    assert_eq!(combined[1], "config: env BP_SLEEP changed, env GREETING changed");
}

#[test]
fn a_build_without_a_condition_runs_and_one_without_a_reason_can_have_failed() {
    assert_eq!(recorded("running-0").build().state, State::Running);
    let refused = recorded("fail-env").build();
    assert_eq!((refused.state, refused.pod.as_deref()), (State::Failed, None));
    assert!(refused.condition.words().starts_with("Pod \"fail-env-build-1-build-pod\" is invalid"));
}

#[test]
fn builds_are_sorted_by_number_and_not_by_time() {
    let mut builds = vec![mk_build(10), mk_build(9), mk_build(2)];
    builds[2].created = "2026-11-23T20:00:00Z".parse().ok();
    Build::sort(&mut builds);
    assert_eq!(builds.iter().map(Build::number_text).collect::<Vec<_>>(), ["2", "9", "10"]);
}

#[test]
fn an_image_with_a_tag_before_its_digest_is_read() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let image = pinned(&format!("r.example:5000/app:v1@{digest}")).unwrap();
    assert_eq!(image.repository, "r.example:5000/app");
    assert_eq!(pinned("r.example/app:v1"), None);
}
