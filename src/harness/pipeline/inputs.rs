//! Which versions the next build of a job gets, and whether it starts by itself. Versions behind the
//! same `passed` job come out of one build of it.

use std::collections::BTreeMap;

use super::book::{Book, Build, Status, Use};
use super::config::{Get, Job, Wanted};
use super::history::History;
use crate::concourse::AnyVersion;

/// Version pins of resources, by resource.
pub type Pins = BTreeMap<String, AnyVersion>;

/// Returns the inputs of the next build of `job`, or which input has no version.
///
/// # Errors
///
/// The reason, as a person would put it.
pub fn resolve(job: &Job, book: &Book, pins: &Pins) -> Result<Vec<Use>, String> {
    let gets = job.gets();
    let candidates: Vec<Vec<AnyVersion>> = gets.iter().map(|get| candidates(job, get, book, pins)).collect();
    for (get, candidates) in gets.iter().zip(&candidates) {
        if candidates.is_empty() {
            return Err(format!("input `{}` has no version", get.name));
        }
    }
    let mut search = Search { gets: &gets, candidates: &candidates, book, chosen: Vec::new() };
    if search.choose(&BTreeMap::new()) {
        return Ok(search.chosen);
    }
    let passed: Vec<&str> =
        gets.iter().filter(|get| !get.passed.is_empty()).map(|get| get.name.as_str()).collect();
    Err(format!("no versions of `{}` have passed the jobs they must pass, together", passed.join("`, `")))
}

/// Returns whether `inputs` start a build of `job` by themselves: a trigger has a version that no
/// build of the job had.
#[must_use]
pub fn is_triggered(job: &Job, inputs: &[Use], book: &Book) -> bool {
    let triggers: Vec<&str> =
        job.gets().iter().filter(|get| get.trigger).map(|get| get.name.as_str()).collect();
    let is_unused = |input: &&Use| !book.builds_of(&job.name).any(|build| build.inputs.contains(input));
    inputs.iter().filter(|input| triggers.contains(&input.name.as_str())).any(|input| is_unused(&input))
}

fn candidates(job: &Job, get: &Get, book: &Book, pins: &Pins) -> Vec<AnyVersion> {
    let nothing = History::default();
    let history = book.histories.get(&get.resource).unwrap_or(&nothing);
    let newest_first = || history.newest_first().into_iter().cloned().collect::<Vec<_>>();
    let pin = match &get.wanted {
        Wanted::Pinned(version) => Some(version),
        _ => pins.get(&get.resource),
    };
    if let Some(pin) = pin {
        let matches = |version: &AnyVersion| pin.iter().all(|(key, value)| version.get(key) == Some(value));
        let found: Vec<AnyVersion> = newest_first().into_iter().filter(matches).collect();
        return if found.is_empty() { vec![pin.clone()] } else { found };
    }
    let used = |build: &Build| {
        build.inputs.iter().find(|input| input.name == get.name).map(|input| input.version.clone())
    };
    match (&get.wanted, book.builds_of(&job.name).find_map(used)) {
        (Wanted::Every, Some(last)) => {
            let next = history.after(&last).into_iter().cloned().collect::<Vec<_>>();
            next.into_iter().chain([last]).collect()
        }
        _ => newest_first(),
    }
}

struct Search<'a> {
    gets: &'a [&'a Get],
    candidates: &'a [Vec<AnyVersion>],
    book: &'a Book,
    chosen: Vec<Use>,
}

/// Per `passed` job, the builds that can still be the one that all versions came out of.
type Vouchers = BTreeMap<String, Vec<u64>>;

impl Search<'_> {
    fn choose(&mut self, vouchers: &Vouchers) -> bool {
        let at = self.chosen.len();
        let (Some(get), Some(candidates)) = (self.gets.get(at), self.candidates.get(at)) else {
            return true;
        };
        for version in candidates {
            let Some(vouchers) = self.vouched(get, version, vouchers) else { continue };
            let (name, resource) = (get.name.clone(), get.resource.clone());
            self.chosen.push(Use { name, resource, version: version.clone() });
            if self.choose(&vouchers) {
                return true;
            }
            self.chosen.pop();
        }
        false
    }

    fn vouched(&self, get: &Get, version: &AnyVersion, vouchers: &Vouchers) -> Option<Vouchers> {
        let mut next = vouchers.clone();
        for job in &get.passed {
            let has =
                |uses: &[Use]| uses.iter().any(|one| one.resource == get.resource && one.version == *version);
            let builds: Vec<u64> = self
                .book
                .builds_of(job)
                .filter(|build| build.status == Some(Status::Succeeded))
                .filter(|build| has(&build.inputs) || has(&build.outputs))
                .map(|build| build.id)
                .filter(|id| vouchers.get(job).is_none_or(|allowed| allowed.contains(id)))
                .collect();
            if builds.is_empty() {
                return None;
            }
            next.insert(job.clone(), builds);
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests;
