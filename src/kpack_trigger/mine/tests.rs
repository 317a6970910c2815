use super::*;
use crate::kpack::fixtures::{mk_build, mk_failed, mk_image, mk_running, recorded, stream};

fn request(builds: &[Build], trigger: bool) -> Request {
    Request::new(&mk_image(), builds, trigger)
}

fn said(answer: &Answer) -> String {
    match answer {
        Answer::Wait => "wait".to_owned(),
        Answer::Quiet => "quiet".to_owned(),
        Answer::Replaced => "replaced".to_owned(),
        Answer::Found(build) => format!("found {}", build.number_text()),
        Answer::Annotate(build) => format!("annotate {}", build.number_text()),
    }
}

fn look(request: &Request, builds: &[Build]) -> String {
    said(&request.look(&mk_image(), builds))
}

fn marked(mut build: Build) -> Build {
    build.trigger = Some("somebody".to_owned());
    build
}

fn made_for(generation: i64, mut build: Build) -> Build {
    build.generation = Some(generation);
    build
}

#[test]
fn the_newest_build_is_told_whether_it_runs_failed_or_succeeded() {
    for newest in [mk_build(3), mk_failed(3), mk_running(3)] {
        let builds = [mk_build(1), mk_build(2), newest];
        assert_eq!(look(&request(&builds, true), &builds), "annotate 3");
    }
}

#[test]
fn a_mark_that_is_there_is_enough_whoever_made_it() {
    let builds = [mk_build(1), marked(mk_running(2))];
    assert_eq!(look(&request(&builds, true), &builds), "wait");
}

#[test]
fn a_mark_on_a_build_that_is_not_the_newest_any_more_is_asked_for_again_or_not_needed() {
    let before = [mk_build(1)];
    let asked = request(&before, true);
    // Another build began between the list and the patch: it is newer than the request.
    assert_eq!(look(&asked, &[marked(mk_build(1)), mk_running(2)]), "found 2");
    // It was made for an older state of the Image: it is not the one, and it has to be told.
    let mut image = mk_image();
    image.generation = 4;
    let asked = Request::new(&image, &before, true);
    let builds = [marked(mk_build(1)), made_for(3, mk_running(2))];
    assert_eq!(said(&asked.look(&image, &builds)), "annotate 2");
    let builds = [mk_build(1), marked(made_for(3, mk_build(2))), made_for(4, mk_running(3))];
    assert_eq!(said(&asked.look(&image, &builds)), "found 3");
}

#[test]
fn an_image_without_builds_gets_its_first_one() {
    let asked = request(&[], true);
    assert_eq!(look(&asked, &[]), "wait");
    assert_eq!(look(&asked, &[mk_running(1)]), "found 1");
}

#[test]
fn a_build_that_was_deleted_and_made_again_is_not_the_one() {
    let before = [mk_build(9), mk_build(10)];
    let asked = request(&before, true);
    let mut phantom = mk_build(10);
    phantom.uid = "another".to_owned();
    assert_eq!(look(&asked, &[mk_build(9), phantom.clone()]), "annotate 10");
    assert_eq!(look(&asked, &[mk_build(9), marked(phantom), mk_running(11)]), "found 11");
}

#[test]
fn numbers_may_begin_anew_when_all_builds_are_gone() {
    let asked = request(&[mk_build(9), mk_build(10)], true);
    let mut first = mk_running(1);
    first.uid = "another".to_owned();
    assert_eq!(look(&asked, &[first]), "found 1");
}

#[test]
fn builds_of_another_image_of_the_same_name_do_not_count() {
    let asked = request(&[mk_build(2)], true);
    let mut foreign = mk_running(3);
    foreign.owner = Some("another".to_owned());
    assert_eq!(look(&asked, &[mk_build(2), foreign]), "annotate 2");
}

#[test]
fn without_a_trigger_a_settled_image_with_nothing_new_is_quiet() {
    let asked = request(&[mk_build(2)], false);
    assert_eq!(look(&asked, &[mk_build(2)]), "quiet");
    assert_eq!(look(&asked, &[mk_build(2), mk_running(3)]), "found 3");
    let mut image = mk_image();
    image.ready.status = "Unknown".to_owned();
    assert_eq!(said(&asked.look(&image, &[mk_build(2)])), "wait");
    let mut image = mk_image();
    image.generation = 2;
    assert_eq!(said(&asked.look(&image, &[mk_build(2)])), "wait");
    assert_eq!(look(&request(&[mk_running(2)], false), &[mk_running(2)]), "wait");
}

#[test]
fn an_image_whose_builder_is_missing_is_not_quiet_and_what_was_built_before_is_no_answer() {
    let missing = recorded("fail-nobuilder").image();
    assert!(missing.observed >= missing.generation && missing.ready.status == "False");
    let mut image = mk_image();
    image.generation = 2;
    image.observed = 2;
    image.ready = missing.ready;
    let old = made_for(1, mk_build(2));
    let asked = Request::new(&image, std::slice::from_ref(&old), false);
    assert_eq!(said(&asked.look(&image, std::slice::from_ref(&old))), "wait");
    let again = begin(&image, std::slice::from_ref(&old), false, false);
    assert!(matches!(again, Begin::Ask(_)), "{again:?}");
    // A build that failed is a verdict: kpack has compared all there is.
    image.ready.reason = "BuildFailed".to_owned();
    let failed = made_for(1, mk_failed(2));
    assert_eq!(said(&asked.look(&image, &[failed])), "quiet");
    image.builder.status = "False".to_owned();
    assert_eq!(said(&asked.look(&image, &[old])), "wait");
}

#[test]
fn an_image_that_was_made_again_under_its_name_is_asked_for_nothing() {
    let asked = request(&[mk_build(5)], true);
    let mut image = mk_image();
    image.uid = "another".to_owned();
    let mut build = mk_build(1);
    build.owner = Some("another".to_owned());
    for builds in [Vec::new(), vec![build]] {
        assert_eq!(said(&asked.look(&image, &builds)), "replaced");
    }
}

#[test]
fn a_put_that_is_run_again_joins_what_the_first_one_began() {
    let begun = |builds: &[Build], changed, trigger| match begin(&mk_image(), builds, changed, trigger) {
        Begin::Join(build) => format!("join {}", build.number_text()),
        Begin::Done(build) => format!("done {}", build.number_text()),
        Begin::Ask(request) => format!("ask{}", if request.trigger { " trigger" } else { "" }),
    };
    assert_eq!(begun(&[mk_build(1), mk_running(2)], false, false), "join 2");
    assert_eq!(begun(&[mk_build(1), mk_build(2)], false, false), "done 2");
    assert_eq!(begun(&[mk_build(1), mk_failed(2)], false, false), "ask trigger");
    assert_eq!(begun(&[mk_build(1), made_for(0, mk_running(2))], false, false), "ask");
    assert_eq!(begun(&[mk_running(2)], true, false), "ask");
    assert_eq!(begun(&[mk_running(2)], false, true), "ask trigger");
    assert_eq!(begun(&[], false, false), "ask");
}

#[test]
fn what_is_waited_for_is_said() {
    assert_eq!(
        pending(&mk_image(), &[mk_running(4)], Dialect::V1Alpha2),
        "build 4 runs, and the next one begins when it has ended"
    );
    let missing = recorded("fail-nobuilder");
    assert!(
        pending(&missing.image(), &[], Dialect::V1Alpha2)
            .contains("BuilderNotFound: Error: Unable to find builder 'nope'")
    );
    let mut image = mk_image();
    image.generation = 2;
    assert!(pending(&image, &[mk_build(1)], Dialect::V1Alpha2).contains("has not seen the change"));
    assert!(pending(&mk_image(), &[mk_build(1)], Dialect::V1Alpha2).contains("has not made the build"));
}

#[test]
fn the_oldest_kpack_is_not_waited_for_without_its_reason() {
    let builds = [marked(mk_build(1))];
    let said = pending(&mk_image(), &builds, Dialect::Pivotal);
    assert!(said.contains("a kpack before 0.0.7 knows no trigger"), "{said}");
    for (builds, dialect) in [(&builds, Dialect::V1Alpha2), (&[mk_build(1)], Dialect::Pivotal)] {
        assert!(!pending(&mk_image(), builds, dialect).contains("0.0.7"));
    }
}

#[test]
fn a_build_that_does_not_tell_its_generation_counts_for_an_image_that_is_settled_alone() {
    let untold = |mut build: Build| {
        build.generation = None;
        build
    };
    let begun = |image: &Image, build: Build| match begin(image, &[untold(build)], false, false) {
        Begin::Join(_) => "join",
        Begin::Done(_) => "done",
        Begin::Ask(_) => "ask",
    };
    let mut unsettled = mk_image();
    unsettled.ready.status = "Unknown".to_owned();
    assert_eq!(begun(&mk_image(), mk_build(2)), "done");
    assert_eq!(begun(&unsettled, mk_build(2)), "ask");
    assert_eq!(begun(&unsettled, mk_running(2)), "ask");
}

#[test]
fn a_broken_builder_that_has_an_older_image_blocks_nothing() {
    assert_eq!(blocked(&recorded("builder-not-uptodate").image()), None);
    assert_eq!(blocked(&recorded("fail-detect").image()), None);
}

#[test]
fn two_triggers_at_once_are_both_answered_by_the_one_build() {
    let moments = stream("two-concurrent");
    let image = moments.iter().find_map(|moment| moment.image.clone()).unwrap();
    // Both saw build 15 as the newest; the second one's patch came when build 16 was there.
    let before = [moments[0].builds[0].clone()];
    let (first, second) = (Request::new(&image, &before, true), Request::new(&image, &before, true));
    let after = moments.last().unwrap();
    for asked in [first, second] {
        assert_eq!(said(&asked.look(&image, &after.builds)), "found 16");
    }
}

#[test]
fn three_triggers_on_a_running_build_are_answered_by_the_next_one() {
    let moments = stream("trigger-running");
    let at =
        moments.iter().position(|moment| moment.builds.iter().any(|build| build.trigger.is_some())).unwrap();
    let image = moments[at].image.clone().unwrap();
    let asked = Request::new(&image, &moments[at].builds, true);
    let answers: Vec<String> = moments[at..]
        .iter()
        .map(|moment| said(&asked.look(moment.image.as_ref().unwrap(), &moment.builds)))
        .collect();
    assert!(answers.iter().all(|answer| answer == "wait" || answer == "found 6"), "{answers:?}");
    let first = answers.iter().position(|answer| answer == "found 6").unwrap();
    assert!(answers[first..].iter().all(|answer| answer == "found 6"));
}
