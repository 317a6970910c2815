//! How the containers of the old pods ended, counted and put into words.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ledger::{Exit, Fate, OldPod};

/// The ends of all old containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exits {
    /// Exit codes and how often they came.
    pub codes: BTreeMap<i32, usize>,
    /// Those that ended as asked: 0, or by SIGTERM.
    pub clean: usize,
    /// Those that were killed when their grace was over.
    pub killed: usize,
    /// Pods of which no end was seen.
    pub unseen: usize,
}

impl Exits {
    pub(super) fn of(pods: &[OldPod]) -> Self {
        let mut exits = Self::default();
        for exit in pods.iter().flat_map(|pod| &pod.exits) {
            *exits.codes.entry(exit.code).or_default() += 1;
            exits.clean += usize::from(is_clean(exit));
            exits.killed += usize::from(exit.killed);
        }
        let is_unseen = |pod: &&OldPod| pod.exits.is_empty() && pod.fate != Fate::Stays;
        exits.unseen = pods.iter().filter(is_unseen).count();
        exits
    }

    /// Says `exits: 3 × 143`; nothing when nothing ended.
    pub(super) fn words(&self) -> Option<String> {
        let mut parts: Vec<String> =
            self.codes.iter().map(|(code, count)| format!("{count} × {code}")).collect();
        if self.killed > 0 {
            parts.push(format!("{} killed with work in flight", self.killed));
        }
        if self.unseen > 0 {
            parts.push(format!("{} unseen", self.unseen));
        }
        (!parts.is_empty()).then(|| format!("exits: {}", parts.join(", ")))
    }
}

fn is_clean(exit: &Exit) -> bool {
    matches!(exit.code, 0 | 143)
}

/// Says how long before their ends the old pods were out of their Services.
pub(super) fn departures(pods: &[OldPod]) -> Option<String> {
    let known: Vec<f64> = pods.iter().filter_map(|pod| pod.margin_seconds).collect();
    let least = known.iter().copied().reduce(f64::min)?;
    let count = known.len();
    let pods = if count == 1 { "1 old pod left its" } else { &format!("{count} old pods left their") };
    Some(if least >= 0.0 {
        format!("{pods} Services ≥ {least:.1} s before the end")
    } else {
        format!("{pods} Services, at worst {:.1} s after the end", -least)
    })
}
