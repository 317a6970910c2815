//! Talks to kpack by way of the API server: with the files below it the only place of this resource
//! type that does. It decides nothing: what is written, which build is meant and how it ended is said
//! by the pure modules beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams, Request};
use serde_json::Value;

use super::order::Order;
use super::stage::Stage;
use super::{Error, Version};
use crate::cluster::{self, Cluster};
use crate::concourse::Interrupted;
use crate::kpack::build::listed::List;
use crate::kpack::{Build, Dialect, Image, Kind, dialect};
use crate::log::Log;

mod clocks;
mod find;
mod live;
pub mod log;
mod run;
mod stream;

/// Who the API server is told that writes.
const MANAGER: &str = "rollway";
/// How often a question is asked that nobody waits for the answer of.
const TRIES: u32 = 3;
/// How long to wait before it is asked again.
const BREATH: Duration = Duration::from_millis(500);
const LONGEST_BREATH: Duration = Duration::from_secs(10);
/// More names than anybody wants to choose from.
const NAMES_LISTED: u32 = 200;

/// What is needed to find an Image.
pub struct Target {
    /// The way to the cluster.
    pub access: cluster::Access,
    /// The Image's name.
    pub image: String,
    /// The API version to use; `None` finds one that works.
    pub dialect: Option<Dialect>,
}

/// Everything that a build needs to know of its surroundings.
pub struct Site<'a> {
    /// Where the Image is.
    pub place: &'a Place,
    /// Where the build's log and what is said about it go.
    pub log: &'a Log,
    /// Resolves when somebody asks to stop.
    pub interrupted: Interrupted,
}

/// Where an Image and its builds are.
#[derive(Clone)]
pub struct Place {
    cluster: Cluster,
    image: String,
    /// The API versions that may work, the one to prefer first.
    dialects: Vec<Dialect>,
    /// Which of them does, as far as known.
    current: Arc<AtomicUsize>,
    /// The API version to write in where the one that was named is older than what is stored.
    stored: Option<Dialect>,
}

impl Place {
    /// Connects, and finds out in which version to speak to kpack.
    ///
    /// # Errors
    ///
    /// When the cluster cannot be reached, or serves no kpack, or somebody asks to stop meanwhile.
    pub async fn find(target: &Target, interrupted: &Interrupted) -> Result<Self, Error> {
        let find = async {
            let cluster = cluster::connect(&target.access).await?;
            Self::at(cluster, target.image.clone(), target.dialect).await
        };
        tokio::select! {
            biased;
            place = find => place,
            () = interrupted.clone() => {
                let image = target.image.clone();
                Err(Error::Interrupted { namespace: String::new(), image, stage: Stage::Nothing })
            }
        }
    }

    /// Does the same in a cluster that is connected to.
    ///
    /// # Errors
    ///
    /// When it serves no kpack.
    pub async fn at(cluster: Cluster, image: String, wanted: Option<Dialect>) -> Result<Self, Error> {
        // Who may not ask for the groups may still use them.
        let listed = cluster.client.list_api_groups().await.ok().map(|groups| dialect::served(&groups));
        let is_stored = |listed: &Vec<Dialect>| listed.contains(&Dialect::V1Alpha2);
        let stored = listed.as_ref().filter(|listed| wanted == Some(Dialect::V1Alpha1) && is_stored(listed));
        let stored = stored.map(|_| Dialect::V1Alpha2);
        let served = listed.unwrap_or_else(|| Dialect::ALL.to_vec());
        let dialects = match wanted {
            None => served,
            Some(wanted) if served.contains(&wanted) => vec![wanted],
            Some(_) if served.is_empty() => served,
            Some(dialect) => return Err(Error::NotServed { dialect, served }),
        };
        if dialects.is_empty() {
            return Err(Error::NoKpack);
        }
        Ok(Self { cluster, image, dialects, current: Arc::default(), stored })
    }

    /// Returns the same place, in the version that is stored where an older one was named: what is written in that
    /// one loses every field that it does not know, even in a patch of others.
    #[must_use]
    pub fn for_writing(self, log: &Log) -> Self {
        let Some(stored) = self.stored else { return self };
        log.line(format!(
            "writes as {stored}: what {} does not know of an Image would be lost",
            self.dialect()
        ));
        Self { dialects: vec![stored], current: Arc::default(), ..self }
    }

    /// Says where this is, for people who debug.
    #[must_use]
    pub fn about(&self) -> String {
        let Cluster { address, namespace, version, .. } = &self.cluster;
        let version = version.as_deref().unwrap_or("of unknown version");
        format!("API server {address} {version}, namespace {namespace}, kpack as {}", self.dialect())
    }

    /// Returns the API version that works, as far as known.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        let index = self.current.load(Ordering::Relaxed);
        self.dialects.get(index).copied().unwrap_or(Dialect::V1Alpha2)
    }

    /// Returns the URL of a Build.
    #[must_use]
    pub fn link(&self, build: &Build) -> String {
        let Cluster { address, namespace, .. } = &self.cluster;
        format!("{address}/apis/{}/namespaces/{namespace}/builds/{}", self.dialect(), build.name)
    }

    /// Lists the builds of the Image, oldest first.
    ///
    /// # Errors
    ///
    /// When the API server does not list them.
    pub async fn builds(&self) -> Result<Vec<Build>, Error> {
        let objects = self.outline(&format!("={}", self.image)).await?;
        let mut builds: Vec<Build> = objects.iter().map(|object| Build::of(object, self.dialect())).collect();
        Build::sort(&mut builds);
        Ok(builds)
    }

    /// Lists the builds of all Images of the namespace, oldest first, with the name of each one's Image.
    ///
    /// # Errors
    ///
    /// When the API server does not list them.
    pub async fn all_builds(&self) -> Result<Vec<(String, Build)>, Error> {
        let objects = self.outline("").await?;
        let dialect = self.dialect();
        let image = |object: &DynamicObject| {
            object.metadata.labels.as_ref().and_then(|labels| labels.get(&dialect.key("image"))).cloned()
        };
        let mut builds: Vec<(String, Build)> =
            objects.iter().filter_map(|object| Some((image(object)?, Build::of(object, dialect)))).collect();
        builds.sort_by_key(|(image, build)| (image.clone(), build.created, build.number));
        Ok(builds)
    }

    /// Finds the build of a version, as it is read and as it is served.
    ///
    /// # Errors
    ///
    /// When the API server does not list builds.
    pub async fn build(&self, version: &Version) -> Result<Option<(Build, Value)>, Error> {
        let mut selector = format!("={}", self.image);
        if !version.build.is_empty() {
            let number = self.dialect().key("buildNumber");
            selector = format!("{selector},{number}={}", version.build);
        }
        for mut object in self.list(&selector).await? {
            let build = Build::of(&object, self.dialect());
            if version.is_of(&build) {
                object.metadata.managed_fields = None;
                return Ok(Some((build, serde_json::to_value(&object).unwrap_or_default())));
            }
        }
        Ok(None)
    }

    /// Lists Builds as they are served; `selector` goes on after the label of the Image's name.
    async fn list(&self, selector: &str) -> Result<Vec<DynamicObject>, cluster::Error> {
        self.ask(async |dialect| {
            let parameters = ListParams::default().labels(&format!("{}{selector}", dialect.key("image")));
            let listed = self.api(Kind::Build, dialect).list(&parameters).await;
            listed.map(|list| list.items).map_err(|error| self.cluster.describe(error, &self.listing()))
        })
        .await
    }

    /// Lists Builds with no more than a [`Build`] is read from: of many that is far less.
    async fn outline(&self, selector: &str) -> Result<Vec<DynamicObject>, cluster::Error> {
        let listed = self.ask(async |dialect| {
            let parameters = ListParams::default().labels(&format!("{}{selector}", dialect.key("image")));
            let path = self.api(Kind::Build, dialect).resource_url().to_owned();
            let doing = self.listing();
            let unusable = |why: &dyn std::fmt::Display| cluster::Error::Unexpected {
                doing: doing.clone(),
                why: why.to_string(),
            };
            let request = Request::new(path).list(&parameters).map_err(|error| unusable(&error))?;
            let listed = self.cluster.client.request::<List>(request).await;
            listed.map_err(|error| self.cluster.describe(error, &doing))
        });
        Ok(listed.await?.items.into_iter().map(DynamicObject::from).collect())
    }

    fn listing(&self) -> String {
        format!("list builds in `{}`", self.cluster.namespace)
    }

    /// Reads the Image.
    ///
    /// # Errors
    ///
    /// When it is not there, with the names of those that are.
    pub async fn image(&self) -> Result<Image, Error> {
        let namespace = &self.cluster.namespace;
        let doing = format!("get the Image `{namespace}/{}`", self.image);
        let answer = self
            .ask(async |dialect| {
                let got = self.api(Kind::Image, dialect).get(&self.image).await;
                got.map_err(|error| self.cluster.describe(error, &doing))
            })
            .await;
        match answer {
            Err(error) if error.status() == Some(404) => Err(self.no_image().await.into()),
            answer => Ok(Image::of(&answer?, self.dialect())),
        }
    }

    async fn no_image(&self) -> cluster::Error {
        let parameters = ListParams::default().limit(NAMES_LISTED);
        let listed = self.api(Kind::Image, self.dialect()).list_metadata(&parameters).await;
        let known =
            listed.ok().map(|list| list.items.into_iter().filter_map(|it| it.metadata.name).collect());
        let (namespace, name) = (self.cluster.namespace.clone(), self.image.clone());
        cluster::Error::NoWorkload { kind: "Image", namespace, name, known }
    }

    /// Lists the build pods of the Image.
    async fn pods(&self) -> Result<Vec<Pod>, cluster::Error> {
        let parameters = ListParams::default().labels(&self.selector());
        let listed = self.pod_api().list(&parameters).await;
        listed.map(|list| list.items).map_err(|error| self.cluster.describe(error, "list the build's pods"))
    }

    async fn patch(&self, kind: Kind, name: &str, patch: &Value) -> Result<DynamicObject, cluster::Error> {
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(kind, self.dialect());
        let patched = api.patch(name, &parameters, &Patch::Merge(patch)).await;
        let doing = format!("patch `{}/{name}`", self.cluster.namespace);
        patched.map_err(|error| self.cluster.describe(error, &doing))
    }

    async fn create(&self, object: Value) -> Result<Image, cluster::Error> {
        let doing = format!("make the Image `{}/{}`", self.cluster.namespace, self.image);
        let unreadable = |error: serde_json::Error| cluster::Error::Unexpected {
            doing: doing.clone(),
            why: error.to_string(),
        };
        let object: DynamicObject = serde_json::from_value(object).map_err(unreadable)?;
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let made = self.api(Kind::Image, self.dialect()).create(&parameters, &object).await;
        let made = made.map_err(|error| self.cluster.describe(error, &doing))?;
        Ok(Image::of(&made, self.dialect()))
    }

    /// Asks in the version that works so far; a server that cannot convert to it is asked in the next.
    async fn ask<T>(
        &self,
        call: impl AsyncFn(Dialect) -> Result<T, cluster::Error>,
    ) -> Result<T, cluster::Error> {
        loop {
            let index = self.current.load(Ordering::Relaxed);
            match call(self.dialect()).await {
                Err(error) if cannot_convert(&error) && index + 1 < self.dialects.len() => {
                    self.current.store(index + 1, Ordering::Relaxed);
                }
                answer => return answer,
            }
        }
    }

    fn api(&self, kind: Kind, dialect: Dialect) -> Api<DynamicObject> {
        let client = self.cluster.client.clone();
        Api::namespaced_with(client, &self.cluster.namespace, &dialect.resource(kind))
    }

    fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), &self.cluster.namespace)
    }

    /// Returns the selector of what belongs to the Image.
    fn selector(&self) -> String {
        format!("{}={}", self.dialect().key("image"), self.image)
    }
}

/// The API server advertises versions that it can serve only with kpack's webhook.
fn cannot_convert(error: &cluster::Error) -> bool {
    matches!(error, cluster::Error::Refused { status, .. }
        if status.code == 500 && status.message.contains("conversion webhook"))
}

/// Asks a few times while the fault is one that passes: for those who wait for nothing.
///
/// # Errors
///
/// Those of the last try, and at once those that no time mends.
pub async fn steady<T>(ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..TRIES {
        match ask().await {
            Err(Error::Cluster(error)) if error.is_transient() => tokio::time::sleep(pause(&error)).await,
            answer => return answer,
        }
    }
    ask().await
}

/// Returns how long to wait before another try: as long as the server says, within reason.
fn pause(error: &cluster::Error) -> Duration {
    let said = match error {
        cluster::Error::Refused { status, .. } => status.details.as_ref().map(|it| it.retry_after_seconds),
        _ => None,
    };
    said.map_or(BREATH, |seconds| Duration::from_secs(seconds.into())).clamp(BREATH, LONGEST_BREATH)
}

/// Has a build made as ordered, and returns it once it has succeeded, or once it has begun where
/// nobody waits.
///
/// # Errors
///
/// When there is no build, or it does not succeed.
pub async fn build(site: &Site<'_>, order: &Order) -> Result<Build, Error> {
    run::build(site, order).await
}

/// Follows a build that is there, to its verdict.
///
/// # Errors
///
/// When it does not succeed.
pub async fn follow(site: &Site<'_>, order: &Order, build: &Build) -> Result<Build, Error> {
    run::follow(site, order, build).await
}
