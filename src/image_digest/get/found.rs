//! What the version's digest names: the manifest as it was served, and the image in it that is meant.

use super::super::Error;
use crate::image::{Contents, Descriptor, Digest, Parts, Pinned, Platform};
use crate::registry::{Client, Manifest};

/// An index may hold an index, and no honest one goes deeper than this.
const DEPTH: usize = 4;

/// What a digest names.
pub(super) struct Found {
    /// The manifest behind the version's digest.
    pub(super) top: Manifest,
    /// The platforms of an index.
    pub(super) platforms: Vec<(Platform, Digest)>,
    image: Result<Image, Missing>,
}

/// One image.
pub(super) struct Image {
    /// Its manifest, as it was served.
    pub(super) manifest: Manifest,
    pub(super) parts: Box<Parts>,
}

/// Why there is no image.
enum Missing {
    /// The digest names something else.
    Other,
    /// It is an index without one for this platform.
    Platform(Platform),
}

impl Found {
    /// Fetches the manifest and, from an index, the one of the image for `platform`.
    pub(super) async fn fetch(client: &Client, pinned: &Pinned, platform: &Platform) -> Result<Self, Error> {
        let fetched = async |digest: &Digest| {
            let gone =
                || Error::Gone(Pinned { repository: pinned.repository.clone(), digest: digest.clone() });
            client.manifest(digest.as_str()).await?.ok_or_else(gone)
        };
        let top = fetched(&pinned.digest).await?;
        let platforms = platforms(&top);
        let mut manifest = top.clone();
        for _ in 0..DEPTH {
            match Contents::read(&manifest.bytes) {
                Some(Contents::Image(parts)) => {
                    return Ok(Self { top, platforms, image: Ok(Image { manifest, parts }) });
                }
                Some(Contents::Index(children)) => match chosen(&children, platform) {
                    Some(child) => manifest = fetched(&child.digest).await?,
                    None => {
                        return Ok(Self { top, platforms, image: Err(Missing::Platform(platform.clone())) });
                    }
                },
                None => break,
            }
        }
        Ok(Self { top, platforms, image: Err(Missing::Other) })
    }

    pub(super) fn image(&self) -> Option<&Image> {
        self.image.as_ref().ok()
    }

    /// Returns whether it is an index that has images, and none for the wanted platform.
    pub(super) fn lacks_platform(&self) -> bool {
        matches!(self.image, Err(Missing::Platform(_)))
    }

    /// Returns the reason why [`Found::image`] has none.
    pub(super) fn no_image(&self, pinned: &Pinned) -> Error {
        match &self.image {
            Err(Missing::Platform(wanted)) => {
                let known: Vec<_> = self
                    .platforms
                    .iter()
                    .map(|(platform, _)| platform.to_string().escape_debug().to_string())
                    .collect();
                Error::Platform { image: pinned.clone(), wanted: wanted.to_string(), known: known.join(", ") }
            }
            _ => Error::NotAnImage(pinned.clone()),
        }
    }
}

fn platforms(top: &Manifest) -> Vec<(Platform, Digest)> {
    let Some(Contents::Index(children)) = Contents::read(&top.bytes) else { return Vec::new() };
    let images = children.into_iter().filter(Descriptor::is_image);
    images.map(|child| (child.platform(), child.digest)).collect()
}

fn chosen<'a>(children: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    children.iter().filter(|child| child.is_image()).find(|child| wanted.accepts(&child.platform()))
}
