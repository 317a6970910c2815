//! Whether a lab runs and is well.

use std::fs;

use super::Lab;
use super::api::Api;
use super::place::Place;
use super::plan::Plan;
use super::processes;
use super::record::{Record, State};

/// How a checkout's lab is.
pub(crate) enum Status {
    /// It runs, every part of it.
    Healthy(Box<Lab>),
    /// It runs or has run, but not as it should; the text says why.
    Broken(String),
    /// There is none.
    Absent,
}

/// Looks at the lab of `place`.
pub(crate) async fn status(place: &Place) -> Status {
    let Ok(lab) = Lab::load(place.checkout()) else {
        return if processes::any(place) {
            Status::Broken("its start was not finished".to_owned())
        } else {
            Status::Absent
        };
    };
    if !lab.is_running() {
        return Status::Broken("its processes are gone".to_owned());
    }
    if let Some((name, how)) = Record::load(&place.data()).ended() {
        return Status::Broken(format!("`{name}` ended with {how}"));
    }
    if !answers(place).await {
        return Status::Broken("its API server does not answer".to_owned());
    }
    Status::Healthy(Box::new(lab))
}

async fn answers(place: &Place) -> bool {
    let Ok(plan) = Plan::load(&place.data()) else { return false };
    let Ok(authority) = fs::read_to_string(place.authority()) else { return false };
    match Api::new(plan.ports.api, &authority, &plan.admin_token) {
        Ok(api) => api.is_ready().await,
        Err(_) => false,
    }
}

/// One line for each part.
pub(crate) fn parts(place: &Place) -> Vec<String> {
    let record = Record::load(&place.data());
    let line = |(name, state): (&String, &State)| match state {
        State::Starting => format!("{name:<24} starting"),
        State::Ready => format!("{name:<24} ready"),
        State::Ended(how) => format!("{name:<24} ended: {how}"),
    };
    record.parts.iter().map(line).collect()
}
