//! What the demo found: the report it writes, the table it prints, and whether every promise was kept. Pure.

use std::fmt;

use serde::Serialize;

use crate::demo::manifests;
use crate::demo::outcome::{Lane, grouped, promises_zero, short};

/// The contents of `report.json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    /// The updates, in their order.
    pub(super) updates: Vec<Update>,
    /// The apps, and the requests that they got all the while.
    pub(super) apps: Vec<App>,
}

/// One `kubectl apply`, until all pods were patched.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Update {
    /// The directory of `kpack/` that was applied.
    pub(super) name: &'static str,
    /// The reason that kpack is expected to have.
    pub(super) reason: &'static str,
    /// From the apply until all pods of all apps were patched.
    pub(super) seconds: f64,
    pub(super) apps: Vec<Patched>,
}

/// One app that an update has reached.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Patched {
    pub(super) name: &'static str,
    /// kpack's number of the build.
    pub(super) build: String,
    pub(super) reason: String,
    pub(super) from: String,
    pub(super) to: String,
    /// The versions, as a pod told them before and after.
    pub(super) java: [String; 2],
    pub(super) openssl: [String; 2],
    /// From the apply until kpack had finished.
    pub(super) built_after: f64,
    /// From the apply until all its pods were patched.
    pub(super) seconds: f64,
}

/// One app under load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct App {
    pub(super) name: &'static str,
    pub(super) lanes: Vec<Lane>,
    #[serde(skip)]
    pub(super) app: manifests::App,
}

impl Outcome {
    /// Returns every promise that was not kept, in words.
    pub(super) fn broken_promises(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for app in &self.apps {
            for lane in &app.lanes {
                if promises_zero(&app.app, &lane.name) && (lane.lost > 0 || lane.requests == 0) {
                    broken.push(format!(
                        "{} {}: {} of {} lost ({})",
                        app.name, lane.name, lane.lost, lane.requests, lane.kinds
                    ));
                }
            }
        }
        for update in &self.updates {
            for app in &update.apps {
                if app.reason != update.reason {
                    broken.push(format!("{} {}: kpack's reason was {}", app.name, update.name, app.reason));
                }
                if app.java[0] == app.java[1] && app.openssl[0] == app.openssl[1] {
                    broken.push(format!("{} {}: its pods run what they ran before", app.name, update.name));
                }
            }
        }
        broken
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<8} {:<12} {:<10} {:<20} {:<44} {:>7} {:>8}",
            "app", "update", "reason", "image", "runtime", "built", "patched"
        )?;
        for update in &self.updates {
            for app in &update.apps {
                writeln!(
                    formatter,
                    "{:<8} {:<12} {:<10} {:<20} {:<44} {:>5.1} s {:>6.1} s",
                    app.name,
                    update.name,
                    app.reason,
                    format!("{} → {}", short(&app.from), short(&app.to)),
                    app.runtime(),
                    app.built_after,
                    app.seconds
                )?;
            }
            writeln!(
                formatter,
                "  kubectl apply -f kpack/{} to all pods patched: {:.1} s",
                update.name, update.seconds
            )?;
        }
        for app in &self.apps {
            for lane in &app.lanes {
                let note = if promises_zero(&app.app, &lane.name) { "" } else { "no promise" };
                let line = format!(
                    "{:<8} {:<12} {:>8} requests {:>4} lost  {note} {}",
                    app.name,
                    lane.name,
                    grouped(lane.requests),
                    grouped(lane.lost),
                    lane.kinds
                );
                writeln!(formatter, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

impl Patched {
    /// Returns what has changed in the pods, in words.
    fn runtime(&self) -> String {
        let [old, new] = &self.java;
        if old != new {
            return format!("Java {old} → {new}");
        }
        let [old, new] = self.openssl.each_ref().map(|text| built_on(text));
        format!("OpenSSL of {old} → {new}")
    }
}

/// Returns the day on which an OpenSSL was built, else all that it says.
fn built_on(text: &str) -> String {
    let Some((_, date)) = text.split_once("built on: ") else { return text.to_owned() };
    let words: Vec<_> = date.split_whitespace().collect();
    match words[..] {
        [_, month, day, _, year, _] => format!("{day} {month} {year}"),
        _ => date.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::manifests::APPS;
    use super::*;

    fn outcome(reason: &str, java: [&str; 2], lost: u64) -> Outcome {
        let openssl = "OpenSSL 1.1.1  11 Sep 2018 built on: Thu Jun 20 17:36:28 2019 UTC".to_owned();
        let patched = Patched {
            name: "app-foo",
            build: "2".to_owned(),
            reason: reason.to_owned(),
            from: "sha256:11111111aa".to_owned(),
            to: "sha256:22222222bb".to_owned(),
            java: java.map(str::to_owned),
            openssl: [openssl.clone(), openssl],
            built_after: 12.25,
            seconds: 33.5,
        };
        let lane = Lane { name: "fresh".to_owned(), requests: 1234, lost, kinds: String::new() };
        Outcome {
            updates: vec![Update {
                name: "jvm-update",
                reason: "BUILDPACK",
                seconds: 40.0,
                apps: vec![patched],
            }],
            apps: vec![App { name: "app-foo", lanes: vec![lane], app: APPS[0] }],
        }
    }

    #[test]
    fn what_was_not_as_promised_is_said() {
        assert!(outcome("BUILDPACK", ["11.0.5", "11.0.6"], 0).broken_promises().is_empty());
        let broken = outcome("STACK", ["11.0.5", "11.0.5"], 2).broken_promises();
        assert_eq!(
            broken,
            [
                "app-foo fresh: 2 of 1234 lost ()",
                "app-foo jvm-update: kpack's reason was STACK",
                "app-foo jvm-update: its pods run what they ran before",
            ]
        );
    }

    #[test]
    fn the_table_tells_reason_versions_and_seconds() {
        let text = outcome("BUILDPACK", ["11.0.5", "11.0.6"], 0).to_string();
        let line = text.lines().nth(1).unwrap();
        assert_eq!(
            line,
            "app-foo  jvm-update   BUILDPACK  11111111 → 22222222  Java 11.0.5 → 11.0.6                          12.2 s   33.5 s"
        );
        assert!(text.contains("kubectl apply -f kpack/jvm-update to all pods patched: 40.0 s"), "{text}");
    }

    #[test]
    fn an_openssl_is_told_by_its_day() {
        assert_eq!(
            built_on("OpenSSL 1.1.1  11 Sep 2018 built on: Tue Nov 12 16:58:35 2019 UTC"),
            "12 Nov 2019"
        );
        assert_eq!(built_on("OpenSSL 3"), "OpenSSL 3");
    }
}
