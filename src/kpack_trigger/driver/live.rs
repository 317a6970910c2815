//! What the API server shows of an Image, its builds and their pods, kept up to date by one watch each.

use std::time::{Duration, Instant};

use futures::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::{Api, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};

use super::Place;
use crate::cluster::Store;
use crate::kpack::{Build, Image, Kind};

enum Seen {
    Image(Event<DynamicObject>),
    Build(Event<DynamicObject>),
    Pod(Box<Event<Pod>>),
    /// A watch that does not work, with the status code where the server gave one.
    Lost(Option<u16>, String),
    /// The same of the watch on pods, which is not needed for a verdict.
    NoPods(Option<u16>),
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
    /// Since when the watches fail, and with what; `None` while they work.
    pub(super) lost: Option<(Instant, String)>,
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
        let pods =
            watch(place, place.pod_api(), owned, "pods".to_owned(), |event| Seen::Pod(Box::new(event)));
        let pods = pods.map(|seen| match seen {
            Seen::Lost(status, _) => Seen::NoPods(status),
            seen => seen,
        });
        seen.push(pods.boxed());
        Self {
            place: place.clone(),
            images: Store::default(),
            builds: Store::default(),
            pods: Store::default(),
            seen,
            has_listed: false,
            lost: None,
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
        match seen {
            Seen::Lost(_, why) => {
                let since = self.lost.take().map_or_else(Instant::now, |(since, _)| since);
                self.lost = Some((since, why));
                return;
            }
            Seen::NoPods(status) => {
                self.is_blind |= status == Some(403);
                return;
            }
            Seen::Image(event) => self.images.apply(event),
            Seen::Build(event) => {
                self.has_listed |= matches!(event, Event::InitDone);
                self.builds.apply(event);
            }
            Seen::Pod(event) => return self.pods.apply(*event),
        }
        self.lost = None;
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

fn watch<K>(
    place: &Place,
    api: Api<K>,
    config: watcher::Config,
    plural: String,
    wrap: impl Fn(Event<K>) -> Seen + Send + 'static,
) -> BoxStream<'static, Seen>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    K::DynamicType: Clone,
{
    let cluster = place.cluster.clone();
    let doing = format!("watch {plural}");
    let events = watcher(api, config).default_backoff();
    events
        .map(move |event| match event {
            Ok(event) => wrap(event),
            Err(error) => {
                let error = cluster.describe_watch(error, &doing);
                Seen::Lost(error.status(), error.to_string())
            }
        })
        .boxed()
}
