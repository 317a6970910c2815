//! What the demo found: the report it writes, the table it prints, and whether every promise was kept. Pure.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::manifests::App;
use crate::load;

/// The contents of `report.json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    /// The apps that Rollway rolled.
    pub(super) apps: Vec<Rolled>,
    /// The same change with `kubectl set image`.
    pub(super) control: Control,
}

/// One app that was rolled.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rolled {
    pub(super) name: String,
    /// The digest before.
    pub(super) from: String,
    /// The digest after.
    pub(super) to: String,
    /// From the publication of an image until all pods ran it, over all rollouts.
    pub(super) seconds: f64,
    pub(super) lanes: Vec<Lane>,
    #[serde(skip)]
    pub(super) aside: Aside,
}

/// What the table tells beyond the report.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    pub(super) app: App,
    /// The Java versions, as the app itself told them.
    pub(super) runtimes: [String; 2],
    /// How often it was rolled.
    pub(super) rollouts: usize,
}

/// The arm without Rollway.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Control {
    pub(super) lanes: Vec<Lane>,
    #[serde(skip)]
    pub(super) seconds: f64,
    #[serde(skip)]
    pub(super) on: &'static str,
}

/// One lane's counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) requests: u64,
    pub(super) lost: u64,
    #[serde(skip)]
    pub(super) kinds: String,
}

impl From<&load::LaneReport> for Lane {
    fn from(report: &load::LaneReport) -> Self {
        let kinds: Vec<String> = report
            .kinds
            .iter()
            .map(|(kind, count)| {
                format!("{count} {}", serde_json::to_value(kind).unwrap_or_default().as_str().unwrap_or("?"))
            })
            .collect();
        Self {
            name: report.name.clone(),
            requests: report.requests,
            lost: report.lost,
            kinds: kinds.join(", "),
        }
    }
}

impl Outcome {
    /// Returns every lane that promises zero and lost something, in words.
    pub(super) fn broken_promises(&self) -> Vec<String> {
        let lanes = self.apps.iter().flat_map(|app| app.lanes.iter().map(move |lane| (app, lane)));
        lanes
            .filter(|(app, lane)| {
                promises_zero(&app.aside.app, &lane.name) && (lane.lost > 0 || lane.requests == 0)
            })
            .map(|(app, lane)| {
                format!(
                    "{} {}: {} of {} lost ({})",
                    app.name, lane.name, lane.lost, lane.requests, lane.kinds
                )
            })
            .collect()
    }
}

/// A new connection always reaches a living pod. What is open on a pod when it goes is the pod's to finish.
pub(super) fn promises_zero(app: &App, lane: &str) -> bool {
    lane == "fresh" || app.drains()
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table(String::new());
        table.row(["app", "image", "Java", "rolled in", "lane", "requests", "lost"], "");
        for app in &self.apps {
            let rolled = match app.aside.rollouts {
                1 => format!("{:.1} s", app.seconds),
                many => format!("{:.1} s ({many}×)", app.seconds),
            };
            let image = format!("{} → {}", short(&app.from), short(&app.to));
            let java = app.aside.runtimes.join(" → ");
            table.lanes([&app.name, &image, &java, &rolled], &app.lanes, |lane| {
                if promises_zero(&app.aside.app, &lane.name) { "" } else { "no promise" }
            });
            table.note(&app.name, app.aside.app.end());
        }
        let rolled = format!("{:.1} s", self.control.seconds);
        table.lanes(["control", "kubectl set image", self.control.on, &rolled], &self.control.lanes, |_| "");
        formatter.write_str(&table.0)
    }
}

/// Text columns; every row after the first of an app leaves the app's own columns empty.
struct Table(String);

impl Table {
    fn row(&mut self, [app, image, java, rolled, lane, requests, lost]: [&str; 7], note: &str) {
        let line = format!(
            "{app:<8} {image:<20} {java:<16} {rolled:<11} {lane:<10} {requests:>8} {lost:>6}  {note}"
        );
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn lanes(&mut self, mut columns: [&str; 4], lanes: &[Lane], promise: impl Fn(&Lane) -> &'static str) {
        for lane in lanes {
            let [app, image, java, rolled] = columns;
            let note = [promise(lane), &lane.kinds]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join(": ");
            self.row(
                [app, image, java, rolled, &lane.name, &grouped(lane.requests), &grouped(lane.lost)],
                &note,
            );
            columns = [""; 4];
        }
    }

    fn note(&mut self, app: &str, end: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "  on SIGTERM {app} {end}");
    }
}

/// Returns the start of a digest, which is enough to tell two apart.
pub(super) fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..8).unwrap_or(hex)
}

/// Returns a number with commas between the thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::manifests::APPS;
    use super::*;

    fn lane(name: &str, lost: u64) -> Lane {
        Lane { name: name.to_owned(), requests: 31_234, lost, kinds: String::new() }
    }

    fn outcome(lost: [[u64; 2]; 2]) -> Outcome {
        let apps = APPS[..2].iter().zip(lost).map(|(app, [fresh, keepalive])| Rolled {
            name: app.name.to_owned(),
            from: "sha256:11111111aa".to_owned(),
            to: "sha256:22222222bb".to_owned(),
            seconds: 17.25,
            lanes: vec![lane("fresh", fresh), lane("keepalive", keepalive)],
            aside: Aside { app: *app, runtimes: ["11.0.5".to_owned(), "11.0.6".to_owned()], rollouts: 2 },
        });
        let control = Control { lanes: vec![lane("fresh", 143)], seconds: 14.0, on: "app-bar" };
        Outcome { apps: apps.collect(), control }
    }

    #[test]
    fn the_report_has_the_agreed_shape() {
        let value = serde_json::to_value(outcome([[0, 0], [0, 3]])).unwrap();
        let keys = |value: &serde_json::Value| {
            value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(keys(&value), "apps control");
        assert_eq!(keys(&value["apps"][0]), "name from to seconds lanes");
        assert_eq!(keys(&value["apps"][0]["lanes"][0]), "name requests lost");
        assert_eq!(keys(&value["control"]), "lanes");
    }

    #[test]
    fn open_connections_are_promised_only_to_the_app_that_drains() {
        assert!(outcome([[0, 0], [0, 3]]).broken_promises().is_empty());
        assert_eq!(outcome([[0, 2], [0, 0]]).broken_promises(), ["app-foo keepalive: 2 of 31234 lost ()"]);
        assert_eq!(outcome([[0, 0], [1, 0]]).broken_promises(), ["app-bar fresh: 1 of 31234 lost ()"]);
    }

    #[test]
    fn a_lane_that_asked_nothing_has_proven_nothing() {
        let mut outcome = outcome([[0, 0], [0, 0]]);
        outcome.apps[0].lanes[0].requests = 0;
        assert_eq!(outcome.broken_promises().len(), 1);
    }

    #[test]
    fn the_table_shows_versions_and_what_was_lost() {
        let text = outcome([[0, 0], [0, 3]]).to_string();
        let line = text.lines().nth(1).unwrap();
        assert_eq!(
            line,
            "app-foo  11111111 → 22222222  11.0.5 → 11.0.6  17.2 s (2×) fresh        31,234      0"
        );
        assert!(
            text.contains(
                "keepalive    31,234      3  no promise\n  on SIGTERM app-bar dies at once; it has no preStop"
            ),
            "{text}"
        );
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
