//! What there is to know about an image without pulling it: its platforms, and the config and the
//! layers of one of them.

use super::Client;
use crate::image::{Config, Digest, Platform};
use crate::registry::{Child, Error, Manifest};

/// An image as its manifest and its config describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The digest that was asked for, or that the tag points at.
    pub digest: Digest,
    /// The platforms it has.
    pub platforms: Vec<Platform>,
    /// The config of the wanted platform, else of the first; `None` for what is no image.
    pub config: Option<Config>,
    /// Its layers, the lowest first, with their sizes as they are pulled.
    pub layers: Vec<(Digest, u64)>,
}

impl Client {
    /// Describes the image behind a tag or a digest in two requests, three for an index; `None` when
    /// the registry has no such thing.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn describe(&self, reference: &str, wanted: &Platform) -> Result<Option<Description>, Error> {
        let Some(manifest) = self.manifest(reference).await? else { return Ok(None) };
        let digest = manifest.digest.clone();
        let mut platforms: Vec<Platform> =
            manifest.children().iter().map(|child| child.platform.clone()).collect();
        let image = match chosen(manifest.children(), wanted) {
            Some(child) => self.manifest(child.digest.as_str()).await?,
            None => Some(manifest),
        };
        let config = match image.as_ref().and_then(Manifest::config) {
            Some(config) => self.config(config).await?,
            None => None,
        };
        if platforms.is_empty() {
            platforms.extend(config.iter().map(|config| config.platform.clone()));
        }
        let layers = image.map(|image| image.layers().to_vec()).unwrap_or_default();
        Ok(Some(Description { digest, platforms, config, layers }))
    }
}

fn chosen<'a>(children: &'a [Child], wanted: &Platform) -> Option<&'a Child> {
    children.iter().find(|child| wanted.accepts(&child.platform)).or_else(|| children.first())
}
