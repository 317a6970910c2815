//! Before a build runs: writes what is ordered into the Image, asks for the build, and finds it.

use std::time::{Duration, Instant};

use super::live::{Live, Needed};
use super::run::{Run, TICK};
use crate::cluster;
use crate::kpack::{Build, Dialect, Image, Kind, State};
use crate::kpack_trigger::mine::{Answer, Request, newest, pending};
use crate::kpack_trigger::order::{Order, Wait};
use crate::kpack_trigger::stage::Stage;
use crate::kpack_trigger::{Error, patch, report};

/// How many writes may come too late before it gives up.
const RACES: u32 = 10;
/// For how long nothing must happen after a change before it counts as nothing to build for.
const QUIET: Duration = Duration::from_secs(3);
/// After how long it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a watch may fail before what it told is not believed any more.
const SIGHT: Duration = Duration::from_secs(2);
/// How long a build that is only asked for may take to begin.
const BEGIN: Duration = Duration::from_secs(30);

impl Run<'_> {
    /// Makes the Image what is ordered; returns it, and, if it was written, the builds right before.
    pub(super) async fn prepare(&self) -> Result<(Image, Option<Vec<Build>>), Error> {
        if let Some(manifest) = &self.order.manifest {
            manifest.inspect(self.dialect().await?, &self.place().cluster.namespace)?;
        }
        let (image, before) = self.write().await?;
        self.tell(&report::warnings(&image));
        Ok((image, before))
    }

    /// Settles on the version to speak in, before the first write.
    async fn dialect(&self) -> Result<Dialect, Error> {
        match self.patient(async || self.place().image().await).await {
            Err(error) if error.is_no_image() && self.order.manifest.is_some() => {}
            answer => drop(answer?),
        }
        Ok(self.place().dialect())
    }

    /// Patches the Image, on what is there at that very moment. It is one patch, whatever is in it:
    /// kpack may build whatever it sees in between.
    async fn write(&self) -> Result<(Image, Option<Vec<Build>>), Error> {
        let Order { manifest, changes, .. } = self.order;
        for _ in 0..RACES {
            let image = match self.patient(async || self.place().image().await).await {
                Err(error) if error.is_no_image() => match self.make(error).await? {
                    Some((image, before)) => return Ok((image, Some(before))),
                    None => continue,
                },
                image => image?,
            };
            let patch = patch::image(&image, self.place().dialect(), manifest.as_ref(), changes)?;
            let Some(patch) = patch else { return Ok((image, None)) };
            let before = self.before().await?;
            self.say(&format!("changes {} of the Image `{}`", patch::words(&patch), image.name));
            let patched = self.patient(async || {
                self.place().patch(Kind::Image, &image.name, &patch).await.map_err(Error::from)
            });
            match patched.await {
                Ok(object) => {
                    self.stage(Stage::Changed);
                    return Ok((Image::of(&object, self.place().dialect()), Some(before)));
                }
                Err(Error::Cluster(error)) if lost_race(&error) => {
                    self.say("  somebody changed it meanwhile: once more");
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Races { image: self.place().image.clone(), times: RACES })
    }

    /// Lists the builds right before a write: not every kpack tells which state a build is of, and one
    /// that began before the write is of the state before.
    async fn before(&self) -> Result<Vec<Build>, Error> {
        let before = self.patient(async || self.place().builds().await).await?;
        self.stage(Stage::Changing);
        Ok(before)
    }

    /// Makes the Image that is `missing`, where the order has one, and returns it with the builds right
    /// before; `None` when somebody else just did.
    async fn make(&self, missing: Error) -> Result<Option<(Image, Vec<Build>)>, Error> {
        let Some(manifest) = &self.order.manifest else { return Err(missing) };
        let (place, changes) = (self.place(), &self.order.changes);
        let object = patch::made(&place.image, place.dialect(), manifest, changes)?;
        let before = self.before().await?;
        match self.patient(async || place.create(object.clone()).await.map_err(Error::from)).await {
            Ok(image) => {
                self.stage(Stage::Changed);
                self.say(&format!("made the Image `{}` from {}", image.name, manifest.path));
                Ok(Some((image, before)))
            }
            Err(Error::Cluster(error)) if error.status() == Some(409) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until the build that was asked for has begun, and asks for it where kpack has to be told.
    pub(super) async fn find(&self, request: &Request, live: &mut Live) -> Result<Found, Error> {
        let mut asking = Asking::default();
        let mut picture = self.look().await?;
        loop {
            let (image, builds) = &picture;
            match request.look(image, builds) {
                Answer::Found(build) => {
                    self.tell_overwritten(builds, &asking);
                    self.tell(&report::found(&build, asking.has_asked));
                    return Ok(Found::Begun(build));
                }
                Answer::Annotate(newest) => {
                    self.annotate(&newest, &mut asking).await?;
                    // The trigger is lost if another build began meanwhile.
                    picture = self.look().await?;
                    continue;
                }
                Answer::Quiet if asking.quiet.get_or_insert_with(Instant::now).elapsed() > QUIET => {
                    return self.nothing(image, builds).map(Found::Nothing);
                }
                Answer::Quiet => {}
                Answer::Replaced => {
                    return Err(Error::ImageGone { image: image.name.clone(), again: true });
                }
                Answer::Wait => asking.quiet = None,
            }
            if request.is_trigger() {
                self.tell_shared(image, builds, &mut asking);
            }
            self.tell_pending(image, builds, &mut asking);
            if let Some(queued) = self.is_late(image, builds)? {
                return Ok(Found::Begun(Box::new(queued)));
            }
            self.heed(live, Needed::Both)?;
            live.changed(TICK).await;
            picture = self.picture(request, live).await?;
        }
    }

    /// Returns what the watches show; what would be acted on is looked at afresh first.
    async fn picture(&self, request: &Request, live: &Live) -> Result<(Image, Vec<Build>), Error> {
        let is_in_sight = live.lost().is_none_or(|lost| lost.since.elapsed() < SIGHT);
        if let Some(image) = live.image().filter(|_| is_in_sight) {
            let builds = live.builds();
            if matches!(request.look(&image, &builds), Answer::Wait | Answer::Found(_)) {
                return Ok((image, builds));
            }
        }
        self.look().await
    }

    /// Puts the trigger on the newest build.
    async fn annotate(&self, newest: &Build, asking: &mut Asking) -> Result<(), Error> {
        asking.races += 1;
        if asking.races > RACES {
            return Err(Error::Races { image: self.place().image.clone(), times: RACES });
        }
        let value = format!("{} at {}", self.order.asker(), k8s_openapi::jiff::Timestamp::now());
        let patch = patch::trigger(newest, self.place().dialect(), &value);
        let stage = self.stands_at();
        self.stage(Stage::Asking);
        let patched = self.patient(async || {
            self.place().patch(Kind::Build, &newest.name, &patch).await.map_err(Error::from)
        });
        match patched.await {
            Ok(_) => {
                asking.has_asked = true;
                asking.mark = (newest.uid.clone(), value);
                self.say(&report::asks(newest));
                self.stage(Stage::Asked);
                Ok(())
            }
            // It was deleted, or deleted and made again.
            Err(Error::Cluster(error)) if error.status() == Some(404) || lost_race(&error) => {
                self.stage(stage);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Says whom the build is shared with when somebody else's mark is where ours was.
    fn tell_overwritten(&self, builds: &[Build], asking: &Asking) {
        let (uid, value) = &asking.mark;
        let marked = builds.iter().find(|build| build.uid == *uid);
        if let Some(newest) = marked
            && let Some(other) = newest.trigger.as_ref().filter(|other| *other != value)
        {
            self.say(&report::coalesces(newest, other));
        }
    }

    /// Says whom the build is shared with when somebody else asked for it before.
    fn tell_shared(&self, image: &Image, builds: &[Build], asking: &mut Asking) {
        if !asking.has_asked
            && !asking.has_told_shared
            && let Some(newest) = newest(image, builds)
            && let Some(value) = &newest.trigger
        {
            asking.has_told_shared = true;
            self.say(&report::coalesces(newest, value));
            if self.stands_at() != Stage::Changed {
                self.stage(Stage::Shared);
            }
        }
    }

    /// Says what is waited for, when that lasts.
    fn tell_pending(&self, image: &Image, builds: &[Build], asking: &mut Asking) {
        let words = pending(image, builds, self.place().dialect());
        if asking.words != words {
            asking.words = words;
            asking.since = Some(Instant::now());
        } else if asking.since.is_some_and(|since| since.elapsed() > SILENCE) {
            asking.since = None;
            self.say(&format!("waiting: {}", asking.words));
        }
    }

    /// Ends the wait when it is over: for those who only ask, with the build that runs before.
    fn is_late(&self, image: &Image, builds: &[Build]) -> Result<Option<Build>, Error> {
        let passed = self.started.elapsed();
        let newest = newest(image, builds);
        let is_queued = newest.is_some_and(|build| {
            build.state == State::Running && (build.trigger.is_some() || !self.order.trigger)
        });
        if self.order.wait == Wait::Asked && is_queued {
            let newest = newest.cloned();
            let number = newest.as_ref().map(Build::number_text).unwrap_or_default();
            self.say(&format!("not waiting: the build comes when build {number} has ended"));
            return Ok(newest);
        }
        let is_patient = self.order.wait != Wait::Asked;
        let limit = if is_patient { self.order.timeout } else { self.order.timeout.min(BEGIN) };
        if passed < limit {
            return Ok(None);
        }
        let why = pending(image, builds, self.place().dialect());
        Err(Error::NotBegun {
            stage: self.stands_at(),
            is_queued: newest.is_some_and(|build| build.state == State::Running),
            namespace: self.place().cluster.namespace.clone(),
            image: image.name.clone(),
            seconds: limit.as_secs(),
            why,
        })
    }

    /// Answers with what is there when kpack has nothing to build.
    fn nothing(&self, image: &Image, builds: &[Build]) -> Result<Box<Build>, Error> {
        match newest(image, builds) {
            Some(build) if build.state == State::Succeeded => {
                self.say(&format!(
                    "kpack builds nothing for that: what it builds from is as before (build {}); `trigger: true` \
                     builds all the same",
                    build.number_text()
                ));
                Ok(Box::new(build.clone()))
            }
            _ => Err(Error::NothingBuilt { image: image.name.clone() }),
        }
    }
}

/// What came of asking for a build.
pub(super) enum Found {
    /// It has begun.
    Begun(Box<Build>),
    /// kpack builds nothing for what was asked; this is what there is, and its log is no news.
    Nothing(Box<Build>),
}

/// What was said and done while a build was asked for.
#[derive(Default)]
struct Asking {
    has_asked: bool,
    has_told_shared: bool,
    /// The build that was marked, and with what.
    mark: (String, String),
    races: u32,
    quiet: Option<Instant>,
    words: String,
    since: Option<Instant>,
}

/// Returns whether the write was made for a state, or an object, that is not there any more.
fn lost_race(error: &cluster::Error) -> bool {
    match error {
        cluster::Error::Refused { status, .. } => {
            status.code == 409 || (status.code == 422 && status.message.contains("metadata.uid"))
        }
        _ => false,
    }
}
