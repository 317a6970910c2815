//! What the bytes of a manifest name, as they name it: descriptors with their sizes and types. For
//! who has to fetch or to store an image; what a rollout wants to know of one is in `registry`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

use super::{Digest, Platform};

/// The mark of a child that is no image but a statement about one.
const ATTESTATION: &str = "vnd.docker.reference.type";

/// Nothing that anybody fetches is larger, and the sum of as many sizes as fit into a manifest is still
/// a number.
const LARGEST: u64 = 1 << 44;

/// Reads a size.
///
/// # Errors
/// When it is none that content can have.
pub(crate) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if size > LARGEST {
        return Err(de::Error::custom(format!(
            "a size of {size} bytes is more than the {LARGEST} there can be"
        )));
    }
    Ok(size)
}

/// A reference to content by digest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is; empty where the manifest does not say.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// How many bytes it has.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Where it runs, in an index.
    platform: Option<Runs>,
    /// What else is said about it.
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// A platform in an index, where other keys beside it mean nothing to us.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Runs {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

/// What an image consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Its type as it says itself; empty where it does not.
    pub media_type: String,
    /// Its config.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// What its manifest says about it.
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// An image.
    Image(Box<Parts>),
    /// An index of images.
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    media_type: String,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Contents {
    /// Reads a manifest; `None` for what is neither an image nor an index.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let file: File = serde_json::from_slice(bytes).ok()?;
        if let Some(manifests) = file.manifests {
            return Some(Self::Index(manifests));
        }
        Some(Self::Image(Box::new(Parts {
            media_type: file.media_type,
            config: file.config?,
            layers: file.layers.unwrap_or_default(),
            annotations: file.annotations.unwrap_or_default(),
        })))
    }
}

impl Descriptor {
    /// Returns where a child of an index runs; an index that does not say means `linux/amd64`.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.platform.as_ref().map_or_else(Platform::default, |runs| Platform {
            os: runs.os.clone(),
            architecture: runs.architecture.clone(),
            variant: runs.variant.clone().unwrap_or_default(),
        })
    }

    /// Returns whether a child of an index is an image or an index of images, and no statement.
    #[must_use]
    pub fn is_image(&self) -> bool {
        !self.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(ATTESTATION))
    }

    /// Returns whether it is a manifest, which a registry serves in another place than blobs.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "application/vnd.oci.image.manifest.v1+json"
                | "application/vnd.oci.image.index.v1+json"
                | "application/vnd.docker.distribution.manifest.v2+json"
                | "application/vnd.docker.distribution.manifest.list.v2+json"
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(character: char) -> String {
        format!("sha256:{}", character.to_string().repeat(64))
    }

    fn read(value: &serde_json::Value) -> Option<Contents> {
        Contents::read(value.to_string().as_bytes())
    }

    #[test]
    fn image_keeps_sizes_and_annotations() {
        let manifest = json!({"mediaType": "m", "annotations": {"a": "b"},
            "config": {"mediaType": "c", "digest": digest('a'), "size": 3},
            "layers": [{"digest": digest('b'), "size": 7}]});
        let Some(Contents::Image(parts)) = read(&manifest) else { panic!("no image") };
        assert_eq!((parts.media_type.as_str(), parts.config.size, parts.layers[0].size), ("m", 3, 7));
        assert_eq!(parts.annotations["a"], "b");
    }

    #[test]
    fn index_tells_images_from_statements_about_them() {
        let index = json!({"manifests": [
            {"mediaType": "x", "digest": digest('a'), "size": 1, "platform": {"os": "linux", "architecture": "arm64", "os.version": "1"}},
            {"mediaType": "x", "digest": digest('b'), "size": 1, "annotations": {ATTESTATION: "attestation-manifest"}},
            {"mediaType": "x", "digest": digest('c'), "size": 1, "annotations": null},
        ]});
        let Some(Contents::Index(children)) = read(&index) else { panic!("no index") };
        let platforms: Vec<_> = children.iter().map(|child| child.platform().to_string()).collect();
        assert_eq!(platforms, ["linux/arm64", "linux/amd64", "linux/amd64"]);
        let images: Vec<_> = children.iter().map(Descriptor::is_image).collect();
        assert_eq!(images, [true, false, true]);
    }

    #[test]
    fn what_names_no_content_is_neither() {
        for none in [json!({}), json!([]), json!({"schemaVersion": 1, "fsLayers": []}), json!({"layers": []})]
        {
            assert_eq!(read(&none), None, "{none}");
        }
        let escaping = json!({"config": {"digest": "sha256:../../etc/passwd", "size": 1}});
        assert_eq!(read(&escaping), None);
        let negative = json!({"config": {"digest": digest('a'), "size": -1}});
        assert_eq!(read(&negative), None);
        for size in [u64::MAX, u64::MAX / 2, LARGEST + 1] {
            let layers = json!({"config": {"digest": digest('a'), "size": 1},
                "layers": [{"digest": digest('b'), "size": size}]});
            assert_eq!(read(&layers), None, "{size}");
        }
    }

    #[test]
    fn no_manifest_stops_the_reader_and_sizes_can_be_added_up() {
        let mut kinds = [0, 0, 0];
        for bytes in crate::fuzz::manifests() {
            let (kind, parts) = match Contents::read(&bytes) {
                None => (0, Vec::new()),
                Some(Contents::Image(parts)) => {
                    (1, parts.layers.into_iter().chain([parts.config]).collect::<Vec<_>>())
                }
                Some(Contents::Index(children)) => (2, children),
            };
            kinds[kind] += 1;
            let mut sizes = parts.iter().map(|part| part.size);
            assert!(sizes.try_fold(0_u64, u64::checked_add).is_some());
            for part in &parts {
                assert!(part.digest.as_str().len() == 71, "{}", part.digest);
                let _ = (part.platform(), part.is_image(), part.is_manifest());
            }
        }
        assert!(kinds.iter().all(|count| *count > 100), "{kinds:?}");
    }
}
