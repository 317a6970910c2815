//! An OCI layout in a tar, as `ctr images import` and skopeo's `oci-archive:` read it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use super::{Blob, Entry, INDEX, Image, layer};

impl Image {
    /// Writes the image to `path`, named `reference` for whoever imports it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn oci_archive(&self, path: &Path, reference: &str) -> anyhow::Result<()> {
        let bytes = self.oci_layout(reference)?;
        std::fs::write(path, bytes)
            .with_context(|| format!("failed to write the image archive `{}`", path.display()))
    }

    fn oci_layout(&self, reference: &str) -> anyhow::Result<Vec<u8>> {
        let mut descriptor = self.top().descriptor();
        // containerd takes its own key before the standard one, which skopeo reads.
        descriptor["annotations"] =
            json!({ "io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] });
        let mut entries = BTreeMap::from([
            ("oci-layout".to_owned(), Entry::text(json!({ "imageLayoutVersion": "1.0.0" }).to_string())),
            ("index.json".to_owned(), Entry::text(index.to_string())),
        ]);
        let blobs = self.content().into_iter().chain([&self.manifest]).chain(&self.index);
        entries.extend(
            blobs.map(|blob| (blob_path(blob), Entry::File { mode: 0o644, content: blob.bytes.clone() })),
        );
        layer::pack(&entries)
    }
}

fn blob_path(blob: &Blob) -> String {
    format!("blobs/{}", blob.digest.replace(':', "/"))
}
