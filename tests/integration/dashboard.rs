//! The dashboard in `grafana/`: well-formed, no version written in it, nothing used that is not defined. What its
//! queries answer is shown where a Prometheus and pods are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

fn dashboard() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/kpack-dashboard.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

fn queries(dashboard: &Value) -> Vec<String> {
    let targets = panels(dashboard).iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn six_panels_have_room_and_a_query_each() {
    let dashboard = dashboard();
    assert_eq!(panels(&dashboard).len(), 6);
    assert_eq!(queries(&dashboard).len(), 6);
    let mut cells = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let number = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in number("x")..number("x") + number("w") {
            assert!(x < 24, "{panel}");
            for y in number("y")..number("y") + number("h") {
                assert!(cells.insert((x, y)), "two panels at {x}, {y}");
            }
        }
    }
}

#[test]
fn no_version_is_written_in_it() {
    let text = dashboard().to_string();
    let version = Regex::new(r"\d+\.\d+|built on|OpenSSL \d").unwrap();
    let found: Vec<_> = version
        .find_iter(&text)
        .map(|found| found.as_str())
        // The panels' colours change at half of the pods.
        .filter(|found| !["0.5", "1.0", "0.0"].contains(found))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_variable_that_is_used_is_defined_and_every_one_that_is_defined_is_used() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let defined: BTreeSet<String> =
        variables.iter().map(|variable| variable["name"].as_str().unwrap().to_owned()).collect();
    let text = dashboard.to_string();
    let used: BTreeSet<String> =
        Regex::new(r"\$\{?([a-z]+)").unwrap().captures_iter(&text).map(|found| found[1].to_owned()).collect();
    assert_eq!(used, defined);
}
