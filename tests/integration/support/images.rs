//! Images on disk, as builders leave them for a put.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tar::{Builder, Header};

use super::registry::{INDEX, MANIFEST, digest};

/// Files with their names: what is in an archive or in a directory.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// Writes an archive of `files`.
pub(crate) fn archive(path: &Path, files: &Files) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, packed(files)).unwrap();
}

/// Returns the bytes of an archive.
pub(crate) fn packed(files: &Files) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Writes `files` below a directory.
pub(crate) fn directory(path: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Returns what gzip makes of some bytes.
pub(crate) fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns what `docker save` would write for an image of these layers; `packed` are compressed.
pub(crate) fn saved(layers: &[&[u8]], packed: &[&[u8]]) -> Files {
    let diffs: Vec<_> = layers.iter().chain(packed).map(|layer| digest(layer)).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diffs}});
    let mut files: Files = Vec::new();
    files.extend(layers.iter().enumerate().map(|(at, layer)| (format!("{at}/layer.tar"), layer.to_vec())));
    files.extend(packed.iter().enumerate().map(|(at, layer)| (format!("{at}.tar.gz"), gzipped(layer))));
    let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    files.push(("config.json".to_owned(), config.to_string().into_bytes()));
    let list = json!([{"Config": "config.json", "RepoTags": ["app:1"], "Layers": names}]);
    files.push(("manifest.json".to_owned(), list.to_string().into_bytes()));
    files
}

/// An OCI layout that is put together piece by piece.
#[derive(Default)]
pub(crate) struct Layout {
    files: Files,
}

impl Layout {
    /// Adds an image of one layer; returns its descriptor.
    pub(crate) fn image(&mut self, architecture: &str, layer: &[u8]) -> Value {
        let config = json!({"os": "linux", "architecture": architecture, "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}});
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let layer = self.blob("application/vnd.oci.image.layer.v1.tar+gzip", &gzipped(layer));
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let mut descriptor = self.blob(MANIFEST, format!("{manifest:#}").as_bytes());
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    }

    /// Adds an index; returns its descriptor.
    pub(crate) fn index(&mut self, children: &[Value]) -> Value {
        self.blob(INDEX, &index(children))
    }

    fn blob(&mut self, kind: &str, bytes: &[u8]) -> Value {
        let name = digest(bytes);
        self.files.push((format!("blobs/{}", name.replace(':', "/")), bytes.to_vec()));
        json!({"mediaType": kind, "digest": name, "size": bytes.len()})
    }

    /// Returns its files, with these in its list.
    pub(crate) fn files(&self, children: &[Value]) -> Files {
        let mut files = self.files.clone();
        files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec()));
        files.push(("index.json".to_owned(), index(children)));
        files
    }
}

/// Returns the bytes of an index, written as no serializer here would.
pub(crate) fn index(children: &[Value]) -> Vec<u8> {
    format!("{:#}\n", json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})).into_bytes()
}
