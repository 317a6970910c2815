//! The image on disk: which kind it is, and its reading on threads that may wait for a disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::Error;
use super::content::Content;
use super::files::Files;
use super::layout;
use super::tarball::{self, Look, Tarball};

/// So many layers are read and compressed at the same time.
const PARALLEL: usize = 4;

/// Reads the image that `path` names; what has to be unpacked is unpacked in `scratch`.
pub(super) async fn read(path: &Path, scratch: &Path) -> Result<Content, Error> {
    let (path, scratch) = (path.to_owned(), scratch.to_owned());
    let opened = background(move || {
        let files = Files::open(&path, &scratch)?;
        let kind = kind(&files, &path)?;
        Ok((Arc::new(files), kind))
    });
    let (files, kind) = opened.await?;
    match kind {
        Kind::Layout(content) => Ok(content),
        Kind::Tarball(tarball) => {
            let (config, looks) = tarball.looks();
            let looks = looks.into_iter().map(|look| looked(files.clone(), look));
            let layers: Vec<_> = stream::iter(looks).buffered(PARALLEL).try_collect().await?;
            tarball::assembled(&files, config, &layers)
        }
    }
}

async fn looked(files: Arc<Files>, look: Look) -> Result<tarball::Seen, Error> {
    background(move || look().map_err(|problem| files.bad(problem))).await
}

enum Kind {
    Layout(Content),
    Tarball(Tarball),
}

/// An archive that is both, as newer versions of Docker write it, is pushed as what registry-image
/// pushes; a directory that is both is a layout.
fn kind(files: &Files, path: &Path) -> Result<Kind, Error> {
    let has = |name| Ok::<_, Error>(files.find(name)?.is_some());
    let order =
        if files.is_archive() { [tarball::LIST, layout::INDEX] } else { [layout::INDEX, tarball::LIST] };
    for name in order {
        if has(name)? {
            return if name == tarball::LIST {
                Tarball::open(files).map(Kind::Tarball)
            } else {
                layout::read(files).map(Kind::Layout)
            };
        }
    }
    let problem = format!("it has neither `{}` nor `{}`", order[0], order[1]);
    Err(files.bad(match archive_in(path) {
        Some(name) if !files.is_archive() => format!("{problem}, but there is `{name}` in it"),
        _ => problem,
    }))
}

/// Finds what was probably meant.
fn archive_in(directory: &Path) -> Option<String> {
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| {
        PathBuf::from(name).extension().is_some_and(|it| it == "tar" || it == "gz" || it == "tgz")
    });
    names.sort_unstable();
    names.into_iter().next()
}

async fn background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Background)?
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};
    use tar::{Builder, Header};

    use super::super::graph::Node;
    use super::*;
    use crate::registry::digest_of;

    fn archived(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = Header::new_gnu();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn placed(directory: &Path, files: &[(String, Vec<u8>)]) {
        for (name, bytes) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    async fn pushed(path: &Path) -> Result<Content, String> {
        let content = read(path, path.parent().unwrap()).await;
        content.map_err(|error| error.to_string().replace(&path.display().to_string(), "IMAGE"))
    }

    async fn of_archive(files: &[(String, Vec<u8>)]) -> Result<Content, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.tar");
        fs::write(&path, archived(files)).unwrap();
        pushed(&path).await
    }

    async fn of_directory(files: &[(String, Vec<u8>)]) -> Result<Content, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("oci");
        placed(&path, files);
        pushed(&path).await
    }

    fn root(content: &Content) -> &Node {
        content.manifests.last().unwrap()
    }

    fn named(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
        (name.to_owned(), bytes.to_vec())
    }

    fn text(name: &str, value: &Value) -> (String, Vec<u8>) {
        named(name, value.to_string().as_bytes())
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn saved(layers: &[(&str, &[u8])], diffs: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
        let diffs: Vec<_> = diffs.iter().map(|diff| digest_of(diff)).collect();
        let names: Vec<_> = layers.iter().map(|(name, _)| *name).collect();
        let mut files: Vec<_> = layers.iter().map(|(name, bytes)| named(name, bytes)).collect();
        files.push(text("config.json", &json!({"rootfs": {"type": "layers", "diff_ids": diffs}})));
        files.push(text(
            "manifest.json",
            &json!([{"Config": "config.json", "RepoTags": ["app:1"], "Layers": names}]),
        ));
        files
    }

    #[tokio::test]
    async fn manifest_of_compressed_layers_is_the_one_that_registry_image_makes() {
        let packed = gzipped(b"layer");
        let content = of_archive(&saved(&[("a.tar.gz", &packed)], &[b"layer"])).await.unwrap();
        let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#, digest_of(b"layer"));
        let wanted = format!(
            concat!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","#,
                r#""config":{{"mediaType":"application/vnd.docker.container.image.v1+json","size":{},"digest":"{}"}},"#,
                r#""layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":{},"digest":"{}"}}]}}"#
            ),
            config.len(),
            digest_of(config.as_bytes()),
            packed.len(),
            digest_of(&packed)
        );
        assert_eq!(String::from_utf8_lossy(&root(&content).bytes), wanted);
        assert_eq!(content.blobs.len(), 2);
    }

    #[tokio::test]
    async fn uncompressed_layers_are_compressed_to_the_same_bytes_each_time() {
        let layer = b"layer ".repeat(100_000);
        let files = saved(&[("a/layer.tar", &layer), ("b/layer.tar", &layer)], &[&layer, &layer]);
        let (one, two) = (of_archive(&files).await.unwrap(), of_archive(&files).await.unwrap());
        assert_eq!(root(&one).digest, root(&two).digest);
        assert_eq!(one.blobs.len(), 2, "a layer that comes twice is one blob");
        let blob = one.blobs.last().unwrap();
        let pieces: Vec<_> = crate::registry::Supply::open(blob).try_collect().await.unwrap();
        let sent = pieces.concat();
        assert_eq!((digest_of(&sent), sent.len() as u64), (blob.digest.clone(), blob.size));
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(sent.as_slice()), &mut plain).unwrap();
        assert_eq!(plain, layer);
    }

    #[tokio::test]
    async fn layers_of_zstd_make_an_oci_manifest() {
        let packed = [&[0x28, 0xb5, 0x2f, 0xfd][..], b"rest"].concat();
        let content =
            of_archive(&saved(&[("a", &packed), ("b", &gzipped(b"b"))], &[b"a", b"b"])).await.unwrap();
        let manifest: Value = serde_json::from_slice(&root(&content).bytes).unwrap();
        assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
        assert_eq!(manifest["layers"][1]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    }

    #[tokio::test]
    async fn layer_from_elsewhere_stays_there() {
        let mut files = saved(&[("a", &gzipped(b"a"))], &[b"a", b"b"]);
        let elsewhere = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "size": 7, "digest": digest_of(b"x"), "urls": ["https://example.com/x"]});
        let sources = json!({ digest_of(b"b").as_str(): elsewhere });
        files.pop();
        files.push(text(
            "manifest.json",
            &json!([{"Config": "config.json", "Layers": ["a", "b"], "LayerSources": sources}]),
        ));
        let content = of_archive(&files).await.unwrap();
        let manifest: Value = serde_json::from_slice(&root(&content).bytes).unwrap();
        assert_eq!(manifest["layers"][1], elsewhere);
        assert_eq!(content.blobs.len(), 2);
    }

    #[tokio::test]
    async fn damaged_tarballs_are_named() {
        let fine = || saved(&[("a", b"layer")], &[b"layer"]);
        let without = |name: &str| fine().into_iter().filter(|(it, _)| it != name).collect::<Vec<_>>();
        let with = |name: &str, value: &Value| [without(name), vec![text(name, value)]].concat();
        let two = json!([{"Config": "config.json", "Layers": []}, {"Config": "config.json", "Layers": []}]);
        for (files, words) in [
            (without("manifest.json"), "it has neither `manifest.json` nor `index.json`"),
            (without("config.json"), "`config.json` is missing in it"),
            (without("a"), "`a` is missing in it"),
            (with("manifest.json", &json!([])), "it holds 0 images, and one is pushed"),
            (with("manifest.json", &two), "it holds 2 images, and one is pushed"),
            (with("manifest.json", &json!({})), "`manifest.json` is not what it should be"),
            (with("config.json", &json!({"rootfs": {}})), "1 layers of `app:1`, and its config has 0"),
            (with("config.json", &json!(7)), "`config.json` is not what it should be"),
            (saved(&[("a", b"other")], &[b"layer"]), "`a`: the config says that the digest of `a` is"),
        ] {
            let error = of_archive(&files).await.err().unwrap_or_default();
            assert!(error.starts_with("`IMAGE` is not an image that can be pushed: "), "{words}: {error}");
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    fn blob(bytes: &[u8]) -> (String, Vec<u8>) {
        named(&format!("blobs/{}", digest_of(bytes).as_str().replace(':', "/")), bytes)
    }

    fn descriptor(kind: &str, bytes: &[u8]) -> Value {
        json!({"mediaType": kind, "digest": digest_of(bytes), "size": bytes.len()})
    }

    /// An image, its manifest's bytes last.
    fn image(layer: &[u8]) -> Vec<(String, Vec<u8>)> {
        let manifest =
            json!({"schemaVersion": 2, "config": descriptor("c", b"{}"), "layers": [descriptor("l", layer)]});
        vec![blob(b"{}"), blob(layer), blob(manifest.to_string().as_bytes())]
    }

    fn list(children: &[(&str, &[u8])]) -> Vec<u8> {
        let manifests: Vec<_> = children.iter().map(|(kind, bytes)| descriptor(kind, bytes)).collect();
        // Spaces that no serializer writes: the bytes are pushed as they are.
        format!(" {}\n", json!({"schemaVersion": 2, "manifests": manifests})).into_bytes()
    }

    #[tokio::test]
    async fn layout_is_pushed_byte_for_byte_with_all_its_children() {
        let (one, two) = (image(b"one"), image(b"two"));
        let (first, second) = (&one[2].1, &two[2].1);
        let index = list(&[(IMAGE, first), (IMAGE, second)]);
        let files = [one.clone(), two.clone(), vec![named("index.json", &index)]].concat();
        for content in [of_directory(&files).await.unwrap(), of_archive(&files).await.unwrap()] {
            let bytes: Vec<_> = content.manifests.iter().map(|node| &node.bytes).collect();
            assert_eq!(bytes, [first, second, &index]);
            assert_eq!(root(&content).media_type, INDEX);
            assert_eq!(content.blobs.len(), 3);
        }
    }

    #[tokio::test]
    async fn indexes_with_one_child_are_unwrapped() {
        let (one, two) = (image(b"one"), image(b"two"));
        let inner = list(&[(IMAGE, &one[2].1), (IMAGE, &two[2].1)]);
        let middle = list(&[(INDEX, &inner)]);
        let outer = list(&[(INDEX, &middle)]);
        let files = [one, two, vec![blob(&inner), blob(&middle), named("index.json", &outer)]].concat();
        assert_eq!(root(&of_directory(&files).await.unwrap()).bytes, inner);
    }

    #[tokio::test]
    async fn single_image_is_pushed_without_an_index_where_the_layout_or_its_form_says_so() {
        let one = image(b"one");
        let manifest = one[2].1.clone();
        let index = list(&[(IMAGE, &manifest)]);
        let mut files = [one, vec![named("index.json", &index)]].concat();
        assert_eq!(root(&of_directory(&files).await.unwrap()).bytes, index);
        assert_eq!(root(&of_archive(&files).await.unwrap()).bytes, manifest);
        files.push(named("single-image-digest", digest_of(&manifest).as_str().as_bytes()));
        for content in [of_directory(&files).await.unwrap(), of_archive(&files).await.unwrap()] {
            assert_eq!(root(&content).bytes, manifest);
        }
    }

    #[tokio::test]
    async fn small_content_may_stand_in_its_descriptor() {
        let mut config = descriptor("application/vnd.oci.empty.v1+json", b"{}");
        config["data"] = json!("e30=");
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
        let files = [blob(manifest.as_bytes()), named("index.json", &list(&[(IMAGE, manifest.as_bytes())]))];
        assert_eq!(of_directory(&files).await.unwrap().blobs.len(), 1);
    }

    #[tokio::test]
    async fn damaged_layouts_are_named() {
        let one = image(b"one");
        let manifest = one[2].1.clone();
        let index = named("index.json", &list(&[(IMAGE, &manifest)]));
        let fine = || [one.clone(), vec![index.clone()]].concat();
        let without =
            |at: usize| fine().into_iter().enumerate().filter(move |(it, _)| *it != at).map(|(_, file)| file);
        let layer = one[1].0.clone();
        let with = |name: &str, bytes: &[u8]| {
            let others = fine().into_iter().filter(|(it, _)| it != name);
            others.chain([named(name, bytes)]).collect::<Vec<_>>()
        };
        let other = digest_of(b"other").to_string();
        for (files, words) in [
            (without(3).collect(), "it has neither `index.json` nor `manifest.json`"),
            (without(1).collect(), "is missing in it"),
            (without(2).collect(), "is missing in it"),
            (with(&layer, b"longer"), "has 6 bytes instead of 3"),
            (with(&one[2].0, b"{}"), "has the digest `sha256:44136"),
            (with("index.json", b"{}"), "`index.json` is neither an image nor an index"),
            (with("index.json", b"[]"), "`index.json` is not a manifest"),
            (with("single-image-digest", b"x"), "`single-image-digest`: `x` is not a digest"),
            (with("single-image-digest", other.as_bytes()), "which is not in its index"),
        ] {
            let error = of_directory(&files).await.err().unwrap_or_default();
            assert!(error.contains(words), "{words}: {error}");
        }
        let error = of_directory(&[named("image.tar", b"")]).await.err().unwrap();
        assert!(error.ends_with("but there is `image.tar` in it"), "{error}");
    }
}
