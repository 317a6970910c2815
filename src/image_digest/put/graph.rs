//! What a manifest refers to, and so what has to be in a registry before it. Pure: whoever walks
//! fetches the manifests, from a disk or from a registry.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::image::{Digest, size};
use crate::registry::digest_of;

/// More manifests than these are in no index that somebody made on purpose.
const MOST: usize = 1000;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The kinds that are put as manifests; whatever else an index names is a blob.
const MANIFESTS: [&str; 6] = [
    OCI_INDEX,
    OCI_IMAGE,
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "",
];

/// A reference to content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub(super) media_type: String,
    /// Its name.
    pub(super) digest: Digest,
    /// How many bytes it has.
    #[serde(deserialize_with = "size")]
    pub(super) size: u64,
    /// The content itself, in base64, where it is small.
    #[serde(default)]
    pub(super) data: Option<String>,
}

impl Descriptor {
    pub(super) fn is_index(&self) -> bool {
        self.media_type == OCI_INDEX || self.media_type.contains("manifest.list")
    }

    fn is_manifest(&self) -> bool {
        MANIFESTS.contains(&self.media_type.as_str())
    }

    /// Layers that may not be handed on: whoever runs the image gets them where they come from.
    fn is_foreign(&self) -> bool {
        self.media_type.contains("nondistributable") || self.media_type.contains(".foreign.")
    }
}

/// A manifest with what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Its name.
    pub(super) digest: Digest,
    /// What it is, as a registry has to be told.
    pub(super) media_type: String,
    /// Its exact bytes.
    pub(super) bytes: Vec<u8>,
    /// The manifests that it names.
    pub(super) manifests: Vec<Descriptor>,
    /// The blobs that it names.
    pub(super) blobs: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    media_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    blobs: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Node {
    /// Reads a manifest; `declared` is its kind where it does not say so itself.
    ///
    /// # Errors
    /// In words that follow the name of the manifest, when it is none.
    pub(super) fn read(bytes: Vec<u8>, declared: &str) -> Result<Self, String> {
        let shape: Shape =
            serde_json::from_slice(&bytes).map_err(|error| format!("not a manifest: {error}"))?;
        let is_index = shape.manifests.is_some();
        let is_image = shape.layers.is_some() || shape.blobs.is_some();
        if is_index == is_image {
            return Err("neither an image nor an index".to_owned());
        }
        let own = if is_index { OCI_INDEX } else { OCI_IMAGE };
        let media_type = [shape.media_type.as_str(), declared, own].into_iter().find(|it| !it.is_empty());
        let media_type = media_type.unwrap_or(own).to_owned();
        let (manifests, others): (Vec<_>, Vec<_>) =
            shape.manifests.into_iter().flatten().partition(Descriptor::is_manifest);
        let parts = shape.config.into_iter().chain(shape.layers.into_iter().flatten());
        let blobs = parts.chain(shape.blobs.into_iter().flatten()).chain(others);
        let blobs = blobs.filter(|blob| !blob.is_foreign()).collect();
        Ok(Self { digest: digest_of(&bytes), media_type, bytes, manifests, blobs })
    }
}

/// A walk from one manifest to all that it needs.
pub(super) struct Walk {
    root: Digest,
    nodes: BTreeMap<Digest, Node>,
    known: BTreeSet<Digest>,
    ahead: Vec<Descriptor>,
}

impl Walk {
    /// Starts at `root`.
    pub(super) fn from(root: Node) -> Self {
        let known = BTreeSet::from([root.digest.clone()]);
        let mut walk = Self { root: root.digest.clone(), nodes: BTreeMap::new(), known, ahead: Vec::new() };
        walk.add(root);
        walk
    }

    /// Returns the manifests that have to be looked at next.
    pub(super) fn next(&mut self) -> Result<Vec<Descriptor>, String> {
        if self.known.len() > MOST {
            return Err(format!("it names more than {MOST} manifests"));
        }
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Adds one of them.
    pub(super) fn add(&mut self, node: Node) {
        let new = node.manifests.iter().filter(|child| self.known.insert(child.digest.clone()));
        self.ahead.extend(new.cloned());
        self.nodes.insert(node.digest.clone(), node);
    }

    /// Returns the manifests, each after all that it names, and the blobs of all of them.
    pub(super) fn finish(self) -> (Vec<Node>, Vec<Descriptor>) {
        let Self { root, mut nodes, .. } = self;
        let mut order = Vec::new();
        let mut stack = vec![(root, false)];
        let mut placed = BTreeSet::new();
        while let Some((digest, is_open)) = stack.pop() {
            if is_open {
                if placed.insert(digest.clone()) {
                    order.push(digest);
                }
                continue;
            }
            let children: Vec<_> = nodes.get(&digest).into_iter().flat_map(|node| &node.manifests).collect();
            let below: Vec<_> =
                children.into_iter().rev().map(|child| (child.digest.clone(), false)).collect();
            stack.push((digest, true));
            stack.extend(below.into_iter().filter(|(child, _)| !placed.contains(child)));
        }
        let manifests: Vec<Node> = order.iter().filter_map(|digest| nodes.remove(digest)).collect();
        let mut named = BTreeSet::new();
        let blobs = manifests.iter().flat_map(|node| &node.blobs);
        let blobs = blobs.filter(|blob| named.insert(blob.digest.clone())).cloned().collect();
        (manifests, blobs)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn digest(character: char) -> String {
        format!("sha256:{}", character.to_string().repeat(64))
    }

    fn read(value: &Value) -> Result<Node, String> {
        Node::read(value.to_string().into_bytes(), "")
    }

    fn named(node: &Node) -> Value {
        json!({"mediaType": OCI_INDEX, "digest": node.digest, "size": node.bytes.len()})
    }

    fn image(layer: char) -> Node {
        read(&json!({"config": {"digest": digest('0'), "size": 2},
            "layers": [{"digest": digest(layer), "size": 7}]}))
        .unwrap()
    }

    fn index(children: &[&Node]) -> Node {
        let children: Vec<_> = children.iter().map(|child| named(child)).collect();
        read(&json!({ "manifests": children })).unwrap()
    }

    #[test]
    fn kind_is_the_manifests_own_then_the_declared_then_the_obvious() {
        let text = |json: &Value| json.to_string().into_bytes();
        let bare = json!({"layers": []});
        let said = json!({"mediaType": "a/b", "layers": []});
        assert_eq!(Node::read(text(&said), "c/d").unwrap().media_type, "a/b");
        assert_eq!(Node::read(text(&bare), "c/d").unwrap().media_type, "c/d");
        assert_eq!(Node::read(text(&bare), "").unwrap().media_type, OCI_IMAGE);
        assert_eq!(Node::read(text(&json!({"manifests": []})), "").unwrap().media_type, OCI_INDEX);
    }

    #[test]
    fn foreign_layers_are_not_pushed_and_strange_children_are_blobs() {
        let node = read(&json!({"layers": [
            {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": digest('a'), "size": 1},
            {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": digest('b'), "size": 1},
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest('c'), "size": 1},
        ]}))
        .unwrap();
        assert_eq!(node.blobs.len(), 1);
        let node =
            read(&json!({"manifests": [{"mediaType": "text/plain", "digest": digest('a'), "size": 1}]}));
        let node = node.unwrap();
        assert_eq!((node.manifests.len(), node.blobs.len()), (0, 1));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for wrong in [
            json!([]),
            json!({}),
            json!({"schemaVersion": 1, "fsLayers": []}),
            json!({"layers": [], "manifests": []}),
            json!({"layers": [{"digest": "sha256:beef", "size": 1}]}),
            json!({"layers": [{"digest": digest('a'), "size": -1}]}),
            json!({"layers": [{"digest": digest('a')}]}),
            json!({"layers": 7}),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn manifests_come_after_all_that_they_name() {
        let (one, two) = (image('a'), image('b'));
        let inner = index(&[&two]);
        // `two` is named before the index that names it too.
        let root = index(&[&two, &inner, &one]);
        let all = [one.clone(), two.clone(), inner.clone()];
        let mut walk = Walk::from(root.clone());
        loop {
            let ahead = walk.next().unwrap();
            if ahead.is_empty() {
                break;
            }
            for child in ahead {
                walk.add(all.iter().find(|node| node.digest == child.digest).unwrap().clone());
            }
        }
        let (manifests, blobs) = walk.finish();
        let order: Vec<_> = manifests.iter().map(|node| &node.digest).collect();
        assert_eq!(order, [&two.digest, &inner.digest, &one.digest, &root.digest]);
        assert_eq!(blobs.len(), 3, "the config that both images have is one blob");
    }

    #[test]
    fn index_without_end_is_given_up() {
        let children: Vec<_> = (0..MOST + 1)
            .map(|number| json!({"digest": format!("sha256:{number:064x}"), "size": 1}))
            .collect();
        let mut walk = Walk::from(read(&json!({ "manifests": children })).unwrap());
        assert!(walk.next().is_err());
    }

    #[test]
    fn no_manifest_stops_the_walk_and_each_comes_after_what_it_names() {
        let nodes: Vec<Node> =
            crate::fuzz::manifests().filter_map(|bytes| Node::read(bytes, "").ok()).collect();
        assert!(nodes.len() > 500 && nodes.len() < 4_900, "{}", nodes.len());
        for some in nodes.chunks(7) {
            let children: Vec<_> = some.iter().map(named).collect();
            let mut walk = Walk::from(read(&json!({ "manifests": children })).unwrap());
            while let Ok(ahead) = walk.next() {
                if ahead.is_empty() {
                    break;
                }
                for child in ahead {
                    if let Some(node) = some.iter().find(|node| node.digest == child.digest) {
                        walk.add(node.clone());
                    }
                }
            }
            let (manifests, blobs) = walk.finish();
            let mut seen = BTreeSet::new();
            for node in &manifests {
                let known = manifests.iter().map(|node| &node.digest);
                let inner: BTreeSet<_> =
                    known.filter(|it| node.manifests.iter().any(|child| &child.digest == *it)).collect();
                assert!(inner.is_subset(&seen), "{}", node.digest);
                seen.insert(&node.digest);
            }
            assert!(blobs.iter().map(|blob| blob.size).try_fold(0_u64, u64::checked_add).is_some());
        }
    }
}
