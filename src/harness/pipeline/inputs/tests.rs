use serde_json::json;

use super::super::Config;
use super::*;

fn version(name: &str) -> AnyVersion {
    AnyVersion::from([("v".to_owned(), name.to_owned())])
}

/// One resource `a`, one `b`; `gets` are the inputs of job `two`, which follows job `one`.
fn config(gets: &serde_json::Value) -> Config {
    let resource = |name: &str| json!({"name": name, "type": "t"});
    let one = json!({"name": "one", "plan": [{"get": "a"}, {"get": "b"}]});
    let two = json!({"name": "two", "plan": gets});
    let pipeline = json!({"resources": [resource("a"), resource("b")], "jobs": [one, two]});
    Config::parse(&pipeline).unwrap()
}

/// A book with versions `1`, `2`, `3` of both resources.
fn book() -> Book {
    let mut book = Book::default();
    for resource in ["a", "b"] {
        let history = book.histories.entry(resource.to_owned()).or_default();
        history.save_checked(&["1", "2", "3"].map(version));
    }
    book
}

fn built(book: &mut Book, job: &str, versions: [&str; 2], status: Status) {
    let uses = ["a", "b"].into_iter().zip(versions).map(|(name, one)| Use {
        name: name.to_owned(),
        resource: name.to_owned(),
        version: version(one),
    });
    let id = book.start(job, uses.collect()).id;
    book.build_mut(id).unwrap().status = Some(status);
}

fn resolved(gets: &serde_json::Value, book: &Book, pins: &Pins) -> Result<String, String> {
    let config = config(gets);
    let inputs = resolve(config.job("two").unwrap(), book, pins)?;
    Ok(inputs.iter().map(|input| format!("{}{}", input.name, input.version["v"])).collect())
}

#[test]
fn latest_is_the_newest_and_pins_win() {
    let gets = json!([{"get": "a"}, {"get": "b", "version": {"v": "1"}}]);
    assert_eq!(resolved(&gets, &book(), &Pins::new()).unwrap(), "a3b1");
    let pins = Pins::from([("a".to_owned(), version("2"))]);
    assert_eq!(resolved(&gets, &book(), &pins).unwrap(), "a2b1");
}

#[test]
fn every_takes_the_version_after_the_last_one_built() {
    let gets = json!([{"get": "a", "version": "every"}]);
    let mut book = book();
    assert_eq!(resolved(&gets, &book, &Pins::new()).unwrap(), "a3");
    built(&mut book, "two", ["1", "1"], Status::Failed);
    assert_eq!(resolved(&gets, &book, &Pins::new()).unwrap(), "a2");
    built(&mut book, "two", ["3", "1"], Status::Succeeded);
    assert_eq!(resolved(&gets, &book, &Pins::new()).unwrap(), "a3");
}

#[test]
fn passed_versions_come_out_of_one_green_build() {
    let together = json!([{"get": "a", "passed": ["one"]}, {"get": "b", "passed": ["one"]}]);
    let mut book = book();
    assert_eq!(
        resolved(&together, &book, &Pins::new()).unwrap_err(),
        "no versions of `a`, `b` have passed the jobs they must pass, together"
    );
    built(&mut book, "one", ["3", "3"], Status::Failed);
    assert!(resolved(&together, &book, &Pins::new()).is_err());
    built(&mut book, "one", ["3", "1"], Status::Succeeded);
    built(&mut book, "one", ["1", "2"], Status::Succeeded);
    assert_eq!(resolved(&together, &book, &Pins::new()).unwrap(), "a3b1");
    let alone = json!([{"get": "a", "passed": ["one"]}, {"get": "b"}]);
    assert_eq!(resolved(&alone, &book, &Pins::new()).unwrap(), "a3b3");
}

#[test]
fn input_without_a_version_is_named() {
    let gets = json!([{"get": "a"}]);
    assert_eq!(resolved(&gets, &Book::default(), &Pins::new()).unwrap_err(), "input `a` has no version");
}

#[test]
fn only_an_unused_version_of_a_trigger_starts_a_build() {
    let config = config(&json!([{"get": "a", "trigger": true}, {"get": "b"}]));
    let job = config.job("two").unwrap();
    let mut book = book();
    let is_started = |book: &Book| is_triggered(job, &resolve(job, book, &Pins::new()).unwrap(), book);
    assert!(is_started(&book));
    built(&mut book, "two", ["3", "1"], Status::Failed);
    assert!(!is_started(&book), "a failed build is not tried again, and `b` is no trigger");
    book.histories.get_mut("b").unwrap().save_checked(&[version("4")]);
    assert!(!is_started(&book));
    book.histories.get_mut("a").unwrap().save_checked(&[version("4")]);
    assert!(is_started(&book));
}
