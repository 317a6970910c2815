//! A manifest as it was served, and the few things that we read in it. Pure.

use std::collections::BTreeSet;

use oci_client::manifest::{ImageIndexEntry, OciDescriptor, OciImageIndex, OciImageManifest};
use sha2::{Digest as _, Sha256};

use crate::image::{Digest, Platform};

/// The types that are asked for: images and indexes, OCI's and Docker's, then anything else.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    */*";

/// The label by which `BuildKit` marks a child that is no image but a statement about one.
const ATTESTATION: &str = "vnd.docker.reference.type";

/// A manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The SHA-256 of the bytes.
    pub digest: Digest,
    /// The exact bytes that the registry served.
    pub bytes: Vec<u8>,
    kind: Kind,
}

/// An image of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Where it runs; an index that does not say means `linux/amd64`.
    pub platform: Platform,
}

/// What a digest names: an image, or an index with its images.
#[derive(Clone, Debug)]
pub struct Family {
    pub(super) head: Manifest,
    /// The index's images; `None` where the registry does not have one that the index names.
    pub(super) images: Vec<(Child, Option<Manifest>)>,
}

impl Family {
    /// Returns every digest that a container runtime may report for it.
    #[must_use]
    pub fn identities(&self) -> BTreeSet<Digest> {
        let children = self.images.iter().map(|(child, _)| &child.digest);
        let manifests = self.images.iter().filter_map(|(_, image)| image.as_ref()).chain([&self.head]);
        let configs = manifests.filter_map(Manifest::config);
        [&self.head.digest].into_iter().chain(children).chain(configs).cloned().collect()
    }

    /// Returns the platforms that an index says it has; of a single image only its config knows.
    #[must_use]
    pub fn platforms(&self) -> Vec<Platform> {
        self.images.iter().map(|(child, _)| child.platform.clone()).collect()
    }

    /// Returns the image for `platform`, else the first that there is.
    #[must_use]
    pub fn image(&self, platform: &Platform) -> Option<&Manifest> {
        if self.images.is_empty() {
            return Some(&self.head).filter(|head| head.config().is_some());
        }
        let fitting = self.images.iter().find(|(child, _)| platform.accepts(&child.platform));
        fitting.or(self.images.first())?.1.as_ref()
    }
}

#[derive(Clone, Debug)]
enum Kind {
    Image { config: Option<Digest>, layers: Vec<(Digest, u64)> },
    Index { children: Vec<Child> },
    Other,
}

impl Manifest {
    /// Reads a manifest. Content that is neither an image nor an index is kept as it is: whatever
    /// a registry serves under a digest exists, and that is often all that is asked.
    pub(super) fn read(bytes: Vec<u8>) -> Self {
        let kind = if let Ok(index) = serde_json::from_slice::<OciImageIndex>(&bytes) {
            Kind::Index { children: index.manifests.iter().filter_map(child).collect() }
        } else if let Ok(image) = serde_json::from_slice::<OciImageManifest>(&bytes) {
            Kind::Image {
                config: image.config.digest.parse().ok(),
                layers: image.layers.iter().filter_map(layer).collect(),
            }
        } else {
            Kind::Other
        };
        Self { digest: digest_of(&bytes), bytes, kind }
    }

    /// Returns the images of an index; attestations are not among them.
    #[must_use]
    pub fn children(&self) -> &[Child] {
        match &self.kind {
            Kind::Index { children } => children,
            Kind::Image { .. } | Kind::Other => &[],
        }
    }

    /// Returns the digest of an image's config.
    #[must_use]
    pub fn config(&self) -> Option<&Digest> {
        match &self.kind {
            Kind::Image { config, .. } => config.as_ref(),
            Kind::Index { .. } | Kind::Other => None,
        }
    }

    /// Returns an image's layers and how many bytes each of them is to pull.
    #[must_use]
    pub fn layers(&self) -> &[(Digest, u64)] {
        match &self.kind {
            Kind::Image { layers, .. } => layers,
            Kind::Index { .. } | Kind::Other => &[],
        }
    }
}

/// Returns the digest of some content.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    hex_digest(&Sha256::digest(bytes))
}

/// Returns the digest of what went into a hash.
pub(crate) fn named(hash: Sha256) -> Digest {
    hex_digest(&hash.finalize())
}

/// Returns the digest that a finished hash is.
pub(super) fn hex_digest(hash: &[u8]) -> Digest {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").parse().expect("a SHA-256 in hex is a digest")
}

fn layer(layer: &OciDescriptor) -> Option<(Digest, u64)> {
    Some((layer.digest.parse().ok()?, u64::try_from(layer.size).ok()?))
}

fn child(entry: &ImageIndexEntry) -> Option<Child> {
    let is_attestation =
        entry.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(ATTESTATION));
    if is_attestation {
        return None;
    }
    let platform = entry.platform.as_ref().map_or_else(Platform::default, |platform| Platform {
        os: platform.os.to_string(),
        architecture: platform.architecture.to_string(),
        variant: platform.variant.clone().unwrap_or_default(),
    });
    Some(Child { digest: entry.digest.parse().ok()?, platform })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(character: char) -> String {
        format!("sha256:{}", character.to_string().repeat(64))
    }

    fn read(value: &serde_json::Value) -> Manifest {
        Manifest::read(value.to_string().into_bytes())
    }

    #[test]
    fn index_lists_its_images_and_leaves_attestations_out() {
        let manifest = read(&serde_json::json!({"schemaVersion": 2, "manifests": [
            {"mediaType": "x", "size": 1, "digest": digest('a'), "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
            {"mediaType": "x", "size": 1, "digest": digest('b'), "platform": {"os": "unknown", "architecture": "unknown"},
             "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
            {"mediaType": "x", "size": 1, "digest": digest('c')},
        ]}));
        let platforms: Vec<_> = manifest.children().iter().map(|child| child.platform.to_string()).collect();
        assert_eq!(platforms, ["linux/arm64/v8", "linux/amd64"]);
        assert_eq!(manifest.config(), None);
    }

    #[test]
    fn image_names_its_config_and_its_layers() {
        let manifest = read(&serde_json::json!({"schemaVersion": 2,
            "layers": [{"mediaType": "x", "size": 7, "digest": digest('d')}],
            "config": {"mediaType": "x", "size": 1, "digest": digest('c')}}));
        assert_eq!(manifest.config().map(Digest::as_str), Some(digest('c').as_str()));
        assert_eq!(manifest.layers(), [(digest('d').parse().unwrap(), 7)]);
    }

    #[test]
    fn unknown_content_is_kept() {
        let manifest = Manifest::read(b"hello".to_vec());
        assert_eq!(
            manifest.digest.as_str(),
            "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        assert!(manifest.children().is_empty() && manifest.config().is_none());
    }

    #[test]
    fn family_names_all_that_a_runtime_may_report_and_picks_by_platform() {
        let index = read(&serde_json::json!({"schemaVersion": 2, "manifests": [
            {"mediaType": "x", "size": 1, "digest": digest('a'), "platform": {"os": "linux", "architecture": "arm64"}},
            {"mediaType": "x", "size": 1, "digest": digest('b'), "platform": {"os": "linux", "architecture": "amd64"}},
        ]}));
        let image = |letter| {
            read(&serde_json::json!({"schemaVersion": 2, "layers": [],
                "config": {"mediaType": "x", "size": 1, "digest": digest(letter)}}))
        };
        let children = index.children().to_vec();
        let images = children.into_iter().zip([Some(image('c')), Some(image('d'))]).collect();
        let family = Family { head: index, images };
        assert_eq!(family.identities().len(), 5);
        let picked = family.image(&Platform::default()).and_then(Manifest::config);
        assert_eq!(picked.map(Digest::as_str), Some(digest('d').as_str()));
        let other = Platform { architecture: "s390x".to_owned(), ..Platform::default() };
        assert_eq!(
            family.image(&other).and_then(Manifest::config).map(Digest::as_str),
            Some(digest('c').as_str())
        );
    }

    #[test]
    fn no_manifest_stops_the_reader() {
        let mut kinds = [0, 0, 0];
        for bytes in crate::fuzz::manifests() {
            let manifest = Manifest::read(bytes.clone());
            assert_eq!((&manifest.digest, &manifest.bytes), (&digest_of(&bytes), &bytes));
            kinds[match manifest.kind {
                Kind::Image { .. } => 0,
                Kind::Index { .. } => 1,
                Kind::Other => 2,
            }] += 1;
            let family = Family {
                images: manifest.children().iter().map(|it| (it.clone(), None)).collect(),
                head: manifest,
            };
            assert!(!family.identities().is_empty());
            let _ = (family.image(&Platform::default()), family.platforms());
        }
        assert!(kinds.iter().all(|count| *count > 100), "{kinds:?}");
    }
}
