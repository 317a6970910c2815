//! What the API server shows of an Image, its builds and their pods, kept up to date by one watch each.

use std::time::{Duration, Instant};

use futures::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};

use super::Place;
use crate::cluster::{self, Store};
use crate::kpack::{Build, Image, Kind};
use crate::kpack_trigger::Error;

/// What one watch tells: an event, or why there is none.
enum Seen {
    Image(Result<Event<DynamicObject>, cluster::Error>),
    Build(Result<Event<DynamicObject>, cluster::Error>),
    /// Pods are not needed for a verdict.
    Pod(Box<Result<Event<Pod>, cluster::Error>>),
}

/// Which watches an answer comes by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    /// That of the builds, for a verdict.
    Builds,
    /// That of the Image too, for a build that has not begun.
    Both,
}

/// Since when a watch fails, and with what.
pub(super) struct Lost {
    pub(super) since: Instant,
    pub(super) error: cluster::Error,
}

/// The watched picture.
pub(super) struct Live {
    place: Place,
    images: Store<DynamicObject>,
    builds: Store<DynamicObject>,
    pods: Store<Pod>,
    seen: SelectAll<BoxStream<'static, Seen>>,
    /// Whether the watch has told of all builds once.
    pub(super) has_listed: bool,
    /// How the watches on the Image and on its builds fail, each for itself: that one of them works
    /// says nothing of the other.
    lost: [Option<Lost>; 2],
    /// Whether the credentials may not see pods.
    pub(super) is_blind: bool,
}

impl Live {
    /// Starts to watch.
    pub(super) fn start(place: &Place) -> Self {
        let dialect = place.dialect();
        let itself = watcher::Config::default().fields(&format!("metadata.name={}", place.image));
        let owned = watcher::Config::default().labels(&place.selector());
        let resource = |kind| dialect.resource(kind);
        let images = place.api(Kind::Image, dialect);
        let builds = place.api(Kind::Build, dialect);
        let mut seen = SelectAll::new();
        seen.push(watch(place, images, itself, resource(Kind::Image).plural, Seen::Image));
        seen.push(watch(place, builds, owned.clone(), resource(Kind::Build).plural, Seen::Build));
        let pods = |event| Seen::Pod(Box::new(event));
        seen.push(watch(place, place.pod_api(), owned, "pods".to_owned(), pods));
        Self {
            place: place.clone(),
            images: Store::default(),
            builds: Store::default(),
            pods: Store::default(),
            seen,
            has_listed: false,
            lost: [None, None],
            is_blind: false,
        }
    }

    /// Waits for a change, for `patience` at most, and takes in all that have come.
    pub(super) async fn changed(&mut self, patience: Duration) {
        if let Ok(Some(seen)) = tokio::time::timeout(patience, self.seen.next()).await {
            self.take(seen);
        }
        while let Some(Some(seen)) = futures::FutureExt::now_or_never(self.seen.next()) {
            self.take(seen);
        }
    }

    fn take(&mut self, seen: Seen) {
        let [image, build] = &mut self.lost;
        match seen {
            Seen::Image(Ok(event)) => {
                image.take_if(|_| is_news(&event));
                self.images.apply(event);
            }
            Seen::Build(Ok(event)) => {
                build.take_if(|_| is_news(&event));
                self.has_listed |= matches!(event, Event::InitDone);
                self.builds.apply(event);
            }
            Seen::Pod(event) => match *event {
                Ok(event) => self.pods.apply(event),
                Err(error) => self.is_blind |= error.status() == Some(403),
            },
            Seen::Image(Err(error)) => lose(image, error),
            Seen::Build(Err(error)) => lose(build, error),
        }
    }

    /// Returns how the watches fail, the one that has failed for longest first.
    pub(super) fn lost(&self) -> Option<&Lost> {
        self.lost.iter().flatten().min_by_key(|lost| lost.since)
    }

    /// Gives up on a watch that is needed and fails with what `is_final` says no time mends; returns its
    /// error.
    pub(super) fn give_up(
        &mut self,
        needed: Needed,
        is_final: impl Fn(&cluster::Error) -> bool,
    ) -> Option<cluster::Error> {
        let [image, build] = &mut self.lost;
        let refused = |lost: &mut Lost| is_final(&lost.error);
        let of_image = image.take_if(|lost| needed == Needed::Both && refused(lost));
        of_image.or_else(|| build.take_if(refused)).map(|lost| lost.error)
    }

    /// Lists the builds, and takes the list for what there is, whatever the watch has told.
    pub(super) async fn refresh(&mut self) -> Result<(), Error> {
        let objects = self.place.list(&format!("={}", self.place.image)).await?;
        self.builds = Store::of(objects);
        self.has_listed = true;
        for lost in self.lost.iter_mut().flatten() {
            lost.since = Instant::now();
        }
        Ok(())
    }

    /// Returns the Image, unless it is gone.
    pub(super) fn image(&self) -> Option<Image> {
        self.images.objects.get(&self.place.image).map(|object| Image::of(object, self.place.dialect()))
    }

    /// Returns the builds, oldest first.
    pub(super) fn builds(&self) -> Vec<Build> {
        let dialect = self.place.dialect();
        let mut builds: Vec<Build> =
            self.builds.objects.values().map(|object| Build::of(object, dialect)).collect();
        Build::sort(&mut builds);
        builds
    }

    /// Returns the pods.
    pub(super) fn pods(&self) -> Vec<Pod> {
        self.pods.objects.values().cloned().collect()
    }
}

/// That a list begins says nothing yet.
const fn is_news<K>(event: &Event<K>) -> bool {
    !matches!(event, Event::Init | Event::InitApply(_))
}

fn lose(lost: &mut Option<Lost>, error: cluster::Error) {
    let since = lost.take().map_or_else(Instant::now, |lost| lost.since);
    *lost = Some(Lost { since, error });
}

fn watch<K>(
    place: &Place,
    api: Api<K>,
    config: watcher::Config,
    plural: String,
    wrap: impl Fn(Result<Event<K>, cluster::Error>) -> Seen + Send + 'static,
) -> BoxStream<'static, Seen>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    K::DynamicType: Clone,
{
    let cluster = place.cluster.clone();
    let doing = format!("watch {plural}");
    let events = watcher(api, config).default_backoff();
    events.map(move |event| wrap(event.map_err(|error| cluster.describe_watch(error, &doing)))).boxed()
}
