//! Which build is the one that was asked for, answered from evidence: it was not there when we first
//! looked, it has a higher number, and it was made for a generation that has our change. No clock is
//! asked: kpack's timestamps have whole seconds, and two machines never agree. Pure.

use std::collections::BTreeSet;

use crate::kpack::{Build, Dialect, Image, State};

/// What is waited for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The builds that were there before we asked.
    known: BTreeSet<String>,
    /// The highest number among them.
    ceiling: u64,
    /// The Image: one that was made again under its name is another.
    image: String,
    /// The generation of the Image that the build must have.
    generation: i64,
    /// Whether kpack has to be told, because nothing changed that it builds for by itself.
    trigger: bool,
}

/// What to do first.
#[derive(Clone, Debug)]
pub enum Begin {
    /// This build is under way already, with all that was asked for.
    Join(Box<Build>),
    /// This build has all that was asked for, and has succeeded.
    Done(Box<Build>),
    /// A build has to come.
    Ask(Request),
}

/// What one look at the builds says.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The build is not there yet.
    Wait,
    /// It is this one.
    Found(Box<Build>),
    /// kpack has to be told, on this build, the newest.
    Annotate(Box<Build>),
    /// kpack has seen what changed and builds nothing for it.
    Quiet,
    /// The Image is not the one that was changed: no build of it is the answer.
    Replaced,
}

impl Request {
    /// Returns the request for a build that is none of `builds`.
    #[must_use]
    pub fn new(image: &Image, builds: &[Build], trigger: bool) -> Self {
        Self {
            known: builds.iter().map(|build| build.uid.clone()).collect(),
            ceiling: builds.iter().filter_map(|build| build.number).max().unwrap_or(0),
            image: image.uid.clone(),
            generation: image.generation,
            trigger,
        }
    }

    /// Returns whether kpack has to be told.
    #[must_use]
    pub const fn is_trigger(&self) -> bool {
        self.trigger
    }

    /// Looks for the build. `builds` must be a list made after the last write, not what a watch has told
    /// so far: a trigger on a build that is not the newest any more is lost without a word.
    #[must_use]
    pub fn look(&self, image: &Image, builds: &[Build]) -> Answer {
        if image.uid != self.image {
            return Answer::Replaced;
        }
        let own = of(image, builds);
        let is_begun_anew = !own.iter().any(|build| self.known.contains(&build.uid));
        let fits = |build: &&&Build| {
            !self.known.contains(&build.uid)
                && (is_begun_anew || build.number.is_none_or(|number| number > self.ceiling))
                && build.generation.is_none_or(|generation| generation >= self.generation)
        };
        if let Some(build) = own.iter().find(fits) {
            return Answer::Found(Box::new((*build).clone()));
        }
        match own.last() {
            Some(newest) if self.trigger && newest.trigger.is_none() => {
                Answer::Annotate(Box::new((*newest).clone()))
            }
            Some(newest) if !self.trigger && newest.state != State::Running && image.is_settled() => {
                Answer::Quiet
            }
            _ => Answer::Wait,
        }
    }
}

/// Decides what to do about an Image that has what was asked for: `changed` says whether it was just
/// written. Whoever runs a put again joins what the first one began.
#[must_use]
pub fn begin(image: &Image, builds: &[Build], changed: bool, trigger: bool) -> Begin {
    let own = of(image, builds);
    let ask = |trigger| Begin::Ask(Request::new(image, builds, trigger));
    let Some(newest) = own.last().filter(|_| !changed && !trigger) else { return ask(trigger) };
    // The oldest kpack does not tell: then only an Image that is settled proves it.
    let is_current = newest.generation.is_some_and(|generation| generation >= image.generation);
    match newest.state {
        State::Running if is_current => Begin::Join(Box::new((*newest).clone())),
        State::Running => ask(false),
        State::Succeeded if is_current || image.is_settled() => Begin::Done(Box::new((*newest).clone())),
        // kpack does not build again by itself what has failed.
        State::Failed if is_current || image.is_settled() => ask(true),
        State::Succeeded | State::Failed => ask(false),
    }
}

/// Returns the builds of this very Image, oldest first.
fn of<'a>(image: &Image, builds: &'a [Build]) -> Vec<&'a Build> {
    let mut own: Vec<&Build> =
        builds.iter().filter(|build| build.owner.as_ref().is_none_or(|owner| *owner == image.uid)).collect();
    own.sort_by_key(|build| (build.number, build.created));
    own
}

/// Returns the newest build of this very Image.
#[must_use]
pub fn newest<'a>(image: &Image, builds: &'a [Build]) -> Option<&'a Build> {
    of(image, builds).pop()
}

/// Says what a build that is not there yet waits for.
#[must_use]
pub fn pending(image: &Image, builds: &[Build], dialect: Dialect) -> String {
    let newest = newest(image, builds);
    let running = newest.filter(|build| build.state == State::Running);
    if let Some(running) = running {
        return format!("build {} runs, and the next one begins when it has ended", running.number_text());
    }
    match blocked(image) {
        Some(why) => format!("kpack builds nothing now: {why}"),
        None if image.observed < image.generation => {
            "kpack's controller has not seen the change yet".to_owned()
        }
        None if dialect == Dialect::Pivotal && newest.is_some_and(|build| build.trigger.is_some()) => {
            "kpack's controller has not made the build yet, and a kpack before 0.0.7 knows no trigger: there a \
             change builds, like `revision`"
                .to_owned()
        }
        None => "kpack's controller has not made the build yet".to_owned(),
    }
}

/// Returns why the Image cannot be built now, in the controller's words.
#[must_use]
pub fn blocked(image: &Image) -> Option<String> {
    if image.ready.status == "True"
        || matches!(image.ready.reason.as_str(), "" | "BuildRunning" | "BuildFailed")
    {
        let builder = Some(&image.builder).filter(|condition| condition.status == "False");
        return builder.map(crate::kpack::Condition::words);
    }
    Some(image.ready.words())
}

#[cfg(test)]
mod tests;
