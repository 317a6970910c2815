//! Several workloads rolled to one image: what they are as one version, and how it is told that not
//! all of them got there. Pure.

use sha2::{Digest as _, Sha256};

use super::preflight::words;
use super::{Ending, Error, Outcome, Report, Running};
use crate::concourse::Field;
use crate::exit::Code;
use crate::failure::{Explain, chain};
use crate::image::Digest;

/// More revisions than this are told by their hash: a version is shown in one line.
const SHOWN: usize = 10;

/// A workload's name and what runs on it.
pub type Named = (String, Running);

/// What runs on all of several workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Together {
    /// The digest that all of them run.
    pub digest: Digest,
    /// The revision of each, by name; the plain revision of a single one.
    pub revision: String,
    /// The uid of a single one, else a hash of all.
    pub uid: String,
}

impl Together {
    /// Puts the states of workloads together; `None` while they do not all run the same digest.
    #[must_use]
    pub fn of(all: &[Named]) -> Option<Self> {
        let (_, first) = all.first()?;
        let digest = first.image.digest.clone();
        if let [_] = all {
            return Some(Self { digest, revision: first.revision.clone(), uid: first.uid.clone() });
        }
        if all.iter().any(|(_, running)| running.image.digest != digest) {
            return None;
        }
        let mut sorted: Vec<&Named> = all.iter().collect();
        sorted.sort_by_key(|(name, _)| name);
        let revisions: Vec<String> =
            sorted.iter().map(|(name, running)| format!("{name}={}", running.revision)).collect();
        let uids: Vec<&str> = sorted.iter().map(|(_, running)| running.uid.as_str()).collect();
        let listed = revisions.join(",");
        let revision = if all.len() > SHOWN { hash(&listed) } else { listed };
        Some(Self { digest, revision, uid: hash(&uids.join(",")) })
    }
}

/// Returns the uid that stands for several workloads.
#[must_use]
pub fn uid(mut uids: Vec<(String, String)>) -> String {
    uids.sort();
    if let [(_, uid)] = uids.as_slice() {
        return uid.clone();
    }
    hash(&uids.iter().map(|(_, uid)| uid.as_str()).collect::<Vec<_>>().join(","))
}

/// Returns the revision that a version says of one workload; `None` where it only has a hash of all.
#[must_use]
pub fn revision_of<'a>(revision: &'a str, name: &str) -> Option<&'a str> {
    let parts = revision.split(',').filter_map(|part| part.split_once('='));
    parts.filter(|(known, _)| *known == name).map(|(_, revision)| revision).next()
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// How several rollouts ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// Those that were begun, by name.
    pub reports: Vec<(String, Report)>,
    /// Those that were not, because another one failed before.
    pub not_begun: Vec<String>,
}

impl Ended {
    /// Returns what runs on all of them and what people see, or what went wrong first.
    ///
    /// # Errors
    ///
    /// When one of them did not end well.
    pub fn into_result(self) -> Result<(Vec<Named>, Vec<Field>), Stopped> {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for (name, report) in self.reports {
            match report.into_result() {
                Ok(outcome) => done.push((name, outcome)),
                Err(error) => failed.push((name, error)),
            }
        }
        if failed.is_empty() {
            let fields = fields(&done);
            let running = done.into_iter().map(|(name, outcome)| (name, outcome.running)).collect();
            return Ok((running, fields));
        }
        let done = done.into_iter().map(|(name, _)| name).collect();
        Err(Stopped { failed, done, not_begun: self.not_begun })
    }
}

/// Returns one line for all and one for each.
fn fields(done: &[(String, Outcome)]) -> Vec<Field> {
    let is_there = done.iter().all(|(_, outcome)| outcome.ending == Ending::AlreadyThere);
    let word = if is_there { Ending::AlreadyThere } else { Ending::Rolled }.word();
    let field = |name: &str, value: String| Field { name: name.to_owned(), value };
    let image = done.first().map(|(_, outcome)| field("image", outcome.running.image.to_string()));
    let each = done.iter().map(|(name, outcome)| {
        let Running { revision, pods, .. } = &outcome.running;
        field(name, format!("{}, revision {revision}, {}", outcome.ending.word(), words::pods(pods.len())))
    });
    let all = [field("outcome", word.to_owned()), field("workloads", done.len().to_string())];
    all.into_iter().chain(image).chain(each).collect()
}

/// Not all of several workloads got there.
#[derive(Debug)]
pub struct Stopped {
    /// Those that failed, in the order in which they ended.
    pub failed: Vec<(String, Error)>,
    /// Those that run the image.
    pub done: Vec<String>,
    /// Those that nobody touched.
    pub not_begun: Vec<String>,
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.failed.len() + self.done.len() + self.not_begun.len();
        write!(formatter, "{} of {all} workloads failed", self.failed.len())?;
        for (name, error) in &self.failed {
            write!(formatter, "; {name}: {}", chain(error))?;
        }
        for (what, names) in [("done", &self.done), ("not begun", &self.not_begun)] {
            if !names.is_empty() {
                write!(formatter, "; {what}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Stopped {}

impl Explain for Stopped {
    fn hint(&self) -> Option<String> {
        self.failed.first().and_then(|(_, error)| error.hint())
    }

    fn code(&self) -> Code {
        self.failed.first().map_or(Code::Failed, |(_, error)| error.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::fixtures::{mk_digest, mk_pinned};
    use crate::rollout::outcome::Notes;

    fn running(letter: char, revision: &str, uid: &str) -> Running {
        Running {
            image: mk_pinned(letter),
            revision: revision.to_owned(),
            uid: uid.to_owned(),
            container: "main".to_owned(),
            pods: vec![("pod".to_owned(), mk_digest(letter))],
        }
    }

    fn named(all: &[(&str, Running)]) -> Vec<(String, Running)> {
        all.iter().map(|(name, running)| ((*name).to_owned(), running.clone())).collect()
    }

    #[test]
    fn one_workload_is_its_own_version() {
        let together = Together::of(&named(&[("a", running('a', "4", "uid"))])).unwrap();
        assert_eq!((together.revision.as_str(), together.uid.as_str()), ("4", "uid"));
    }

    #[test]
    fn several_workloads_are_one_version_once_they_agree() {
        let all = named(&[("b", running('a', "7", "y")), ("a", running('a', "12", "x"))]);
        let together = Together::of(&all).unwrap();
        assert_eq!((together.digest.clone(), together.revision.as_str()), (mk_digest('a'), "a=12,b=7"));
        assert_eq!(
            together.uid,
            uid(vec![("b".to_owned(), "y".to_owned()), ("a".to_owned(), "x".to_owned())])
        );
        assert_eq!(revision_of(&together.revision, "a"), Some("12"));
        assert_eq!(revision_of(&together.revision, "c"), None);
        let differing = named(&[("a", running('a', "12", "x")), ("b", running('b', "7", "y"))]);
        assert_eq!(Together::of(&differing), None);
        let recreated = named(&[("a", running('a', "12", "z")), ("b", running('a', "7", "y"))]);
        assert_ne!(Together::of(&recreated).unwrap().uid, together.uid);
    }

    #[test]
    fn many_revisions_are_told_by_a_hash_that_changes_with_any_of_them() {
        let many = |last: &str| {
            let all: Vec<(String, Running)> = (0..11)
                .map(|number| {
                    (format!("app-{number:02}"), running('a', if number == 10 { last } else { "1" }, "u"))
                })
                .collect();
            Together::of(&all).unwrap().revision
        };
        assert_eq!(many("1").len(), 32);
        assert_ne!(many("1"), many("2"));
        assert_eq!(revision_of(&many("1"), "app-00"), None);
    }

    fn report(result: Result<Outcome, Error>) -> Report {
        Report::new("shop/deployment/a".to_owned(), "image".to_owned(), Notes::default(), result)
    }

    fn outcome(ending: Ending) -> Outcome {
        Outcome { ending, running: running('a', "4", "u"), fields: Vec::new() }
    }

    #[test]
    fn one_that_fails_stops_the_rest_and_all_are_accounted_for() {
        let gone = Error::Gone { target: "shop/b".to_owned(), again: None };
        let ended = Ended {
            reports: vec![
                ("a".to_owned(), report(Ok(outcome(Ending::Rolled)))),
                ("b".to_owned(), report(Err(gone))),
            ],
            not_begun: vec!["c".to_owned(), "d".to_owned()],
        };
        let stopped = ended.into_result().unwrap_err();
        assert_eq!(
            stopped.to_string(),
            "1 of 4 workloads failed; b: `shop/b` was deleted while this rollout ran; done: a; not begun: c, d"
        );
        assert!(stopped.hint().is_some());
    }

    #[test]
    fn each_workload_that_got_there_has_a_line() {
        let reports = vec![
            ("a".to_owned(), report(Ok(outcome(Ending::Rolled)))),
            ("b".to_owned(), report(Ok(outcome(Ending::AlreadyThere)))),
        ];
        let (running, fields) = Ended { reports, not_begun: Vec::new() }.into_result().unwrap();
        assert_eq!(running.len(), 2);
        let said: Vec<String> =
            fields.iter().map(|field| format!("{} {}", field.name, field.value)).collect();
        assert_eq!(said[0], "outcome rolled");
        assert_eq!(said[3..], ["a rolled, revision 4, 1 pod", "b already there, revision 4, 1 pod"]);
    }
}
