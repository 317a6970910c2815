//! Options as they are typed, what they order, and how a plan tells them again.

use super::*;
use crate::probe::tally::Lane;
use crate::rollout::order::canary::Check;

fn mk_image(letter: &str) -> String {
    format!("registry/app@sha256:{}", letter.repeat(64))
}

fn args(words: &[&str]) -> OrderArgs {
    Usual::parse_from(["x"].iter().chain(words)).order
}

fn ordered(words: &[&str]) -> Result<Order, String> {
    let args = args(words);
    let terms = args.terms().map_err(|failure| {
        assert_eq!(failure.code(), Code::Usage);
        failure.to_string()
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (access, log) = (registry::Access::default(), Log::to(std::io::sink()));
    runtime.block_on(terms.order(&mk_image("a"), &access, &log)).map_err(|error| error.to_string())
}

fn again(words: &[&str]) -> String {
    args(words).options(&ordered(words).unwrap())
}

#[test]
fn options_are_those_that_were_typed_and_say_the_same_again() {
    assert_eq!(again(&[]), "");
    let all = "--container app --wait 60 --drain-wait 5 --settle 0 --drain rolling --on-failure leave \
               --canary 2 --canary-check restarts --allow D401 --strict";
    assert_eq!(again(&all.split_whitespace().collect::<Vec<_>>()), format!(" {all}"));
    let watched =
        again(&["--canary", "10%", "--canary-hold", "2m", "--probe", "https://bob:secret@shop/?a=1&b=2"]);
    assert_eq!(watched, " --canary 10% --canary-hold 120 --probe https://shop/");
    let probed =
        ["--probe", "http://shop/", "--probe-rps", "50", "--probe-lanes", "fresh", "--probe-fail", "false"];
    assert_eq!(again(&probed), format!(" {}", probed.join(" ")));
}

#[test]
fn what_a_plan_tells_is_what_was_ordered() {
    let typed = [
        "--canary=1",
        "--canary-check=probe",
        "--canary-check=prometheus: {url: 'http://bob:secret@p:9090', query: \"it's{a=\\\"b\\\"}\", min: 1}",
        "--probe=http://shop/",
        "--window=days: [mon], start: 09:00, stop: 17:00",
        "--window=location: Europe/Zurich",
        "--freeze=prometheus: http://bob:secret@p:9090, alerts: ^Slo|Down$",
    ];
    let options = again(&typed);
    assert!(!options.contains("secret"), "{options}");
    // A shell would take the words apart like this.
    let script = format!("printf '%s\\n' {options}");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    let (one, other) = (ordered(&typed).unwrap(), ordered(&words.lines().collect::<Vec<_>>()).unwrap());
    assert_eq!(one.policy.windows, other.policy.windows);
    assert_eq!(other.policy.freeze.as_ref().unwrap().prometheus, "http://p:9090");
    let checks = |order: &Order| order.canary.as_ref().unwrap().checks.clone().unwrap();
    let (Check::Prometheus(one), Check::Prometheus(other)) = (&checks(&one)[1], &checks(&other)[1]) else {
        panic!("{options}")
    };
    assert_eq!((&one.query, one.min), (&other.query, other.min));
}

#[test]
fn what_is_typed_is_what_the_keys_of_the_resource_mean() {
    let order = ordered(&[
        "--canary=25%",
        "--probe=http://shop/",
        "--probe-rps=50",
        "--probe-lanes=pooled,fresh",
        "--probe-fail=false",
        "--freeze={prometheus: 'https://p', alerts: ^Slo}",
        "--window=days: [sat, sun]",
        "--container=app",
        &format!("--container-image=migrate={}", mk_image("b")),
    ])
    .unwrap();
    let probe = order.probe.unwrap();
    assert_eq!((probe.rps, probe.lanes, probe.fail), (50, vec![Lane::Pooled, Lane::Fresh], false));
    assert_eq!(order.canary.unwrap().checks, None);
    assert_eq!(order.policy.windows.len(), 1);
    assert!(order.policy.freeze.unwrap().alerts.is_match("SloBurn"));
    assert_eq!(order.images["migrate"].to_string(), mk_image("b"));
    assert_eq!(args(&["-c", "app", "--container-image", "db=x:1"]).containers(), ["app", "db"]);
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    for (words, wanted) in [
        (
            &["--canary=1", "--canary-check=smoke"][..],
            "`--canary-check`: expected one of `probe`, `restarts`, `prometheus`, found a string",
        ),
        (
            &["--canary=1", "--canary-check=probe"],
            "`--canary-check` asks for `probe`, and there is no `probe`",
        ),
        (&["--canary=1", "--canary-check=prometheus: {url: 'http://p', query: up}"], "`up` without bounds"),
        (&["--canary=1", "--wait=0"], "`--canary` is set, and nobody stays to watch it"),
        (&["--window=monday"], "`--window`: expected an object"),
        (&["--window=start: 09:00"], "`start` and `stop` belong together"),
        (&["--freeze=prometheus: p:9090, alerts: x"], "does not begin with `http://`"),
        (&["--probe=shop"], "`--probe` has the address `shop`, which is no URL that can be asked"),
    ] {
        // Without an image: nobody has been asked anything yet.
        let failure = args(words).terms().err().unwrap();
        assert_eq!(failure.code(), Code::Usage);
        let error = failure.to_string();
        assert!(error.contains(wanted), "{words:?}: {error}");
    }
    for words in [
        &["--canary-check=restarts"][..],
        &["--probe-rps=5"],
        &["--probe=http://a", "--probe-rps=0"],
        &["--probe=http://a", "--probe-lanes=slow"],
        &["--probe=http://a", "--probe-fail=perhaps"],
        &["--container-image=db=x:1"],
        &["--container=a", "--container-image=db"],
    ] {
        assert!(Usual::try_parse_from(["x"].iter().chain(words)).is_err(), "{words:?}");
    }
}

#[test]
fn seconds_that_mean_nothing_are_refused_as_the_resource_refuses_them() {
    let most = u64::MAX.to_string();
    for wrong in [
        ["--wait", most.as_str()],
        ["--wait", "86401"],
        ["--drain-wait", most.as_str()],
        ["--drain-wait", "0"],
        ["--drain-wait", "3601"],
        ["--settle", "3601"],
    ] {
        let Err(error) = Usual::try_parse_from(["x"].iter().chain(&wrong)) else { panic!("{wrong:?}") };
        assert!(error.to_string().contains("is not in"), "{error}");
    }
    assert_eq!(again(&["--wait", "0"]), " --wait 0");
}
