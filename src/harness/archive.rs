//! An OCI archive or layout on disk, unpacked to a root directory: the layers in order, with their
//! whiteouts, owners moved up by the container's user mapping.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek};
use std::os::unix::fs::lchown;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Error, on, tree};

/// An index of indexes of one is what nobody writes.
const DEEPEST: u32 = 4;

/// An unpacked image.
pub struct Image {
    /// Its files.
    pub root: PathBuf,
    /// Its `NAME=value` pairs.
    pub variables: Vec<String>,
    /// The user and group its processes run as.
    pub user: (u32, u32),
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    config: Process,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Process {
    env: Option<Vec<String>>,
    user: Option<String>,
}

impl Image {
    /// Unpacks the image at `path` below `work`; its user 0 becomes the host's user `base`.
    ///
    /// # Errors
    ///
    /// When the archive is not an OCI one, is damaged, or has no image for this machine.
    pub fn unpack(path: &Path, work: &Path, base: u32) -> Result<Self, Error> {
        let layout = Layout::open(path, &work.join("layout"))?;
        let manifest = layout.manifest()?;
        let config: Config = layout.json(&manifest.config.digest)?;
        let root = work.join("root");
        tree::passable(work)?;
        fs::create_dir_all(&root).map_err(on("create", &root))?;
        lchown(&root, Some(base), Some(base)).map_err(on("change the owner of", &root))?;
        for layer in &manifest.layers {
            layout.apply(&layer.digest, &root, base)?;
        }
        let user = user(config.config.user.as_deref().unwrap_or_default())
            .ok_or_else(|| layout.broken("its user is a name; only numbers are understood"))?;
        Ok(Self { root, variables: config.config.env.unwrap_or_default(), user })
    }
}

struct Layout {
    archive: PathBuf,
    folder: PathBuf,
}

impl Layout {
    fn open(path: &Path, work: &Path) -> Result<Self, Error> {
        let archive = path.to_owned();
        if path.is_dir() {
            return Ok(Self { archive, folder: path.to_owned() });
        }
        let file = File::open(path).map_err(on("open", path))?;
        fs::create_dir_all(work).map_err(on("create", work))?;
        let layout = Self { archive, folder: work.to_owned() };
        tar::Archive::new(BufReader::new(file))
            .unpack(work)
            .map_err(|error| layout.broken(format!("it is not a tar archive: {error}")))?;
        Ok(layout)
    }

    fn broken(&self, reason: impl Into<String>) -> Error {
        Error::Image { path: self.archive.clone(), reason: reason.into() }
    }

    fn manifest(&self) -> Result<Manifest, Error> {
        let text =
            fs::read(self.folder.join("index.json")).map_err(|_| self.broken("it has no `index.json`"))?;
        let mut index: Index =
            serde_json::from_slice(&text).map_err(|error| self.broken(format!("`index.json`: {error}")))?;
        for _ in 0..DEEPEST {
            let chosen = index
                .manifests
                .iter()
                .find(|entry| entry.platform.as_ref().is_none_or(is_ours))
                .ok_or_else(|| self.broken("it has no image for this machine's platform"))?;
            if !chosen.media_type.contains("index") && !chosen.media_type.contains("list") {
                return self.json(&chosen.digest);
            }
            index = self.json(&chosen.digest)?;
        }
        Err(self.broken(format!("its indexes are nested more than {DEEPEST} deep")))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, digest: &str) -> Result<T, Error> {
        let file = BufReader::new(self.blob(digest)?);
        serde_json::from_reader(file).map_err(|error| self.broken(format!("blob `{digest}`: {error}")))
    }

    /// Opens a blob that is what its digest says.
    fn blob(&self, digest: &str) -> Result<File, Error> {
        let path = self.place(digest)?;
        // Anything else could keep it waiting for ever.
        if !fs::metadata(&path).is_ok_and(|found| found.is_file()) {
            return Err(self.broken(format!("blob `{digest}` is missing")));
        }
        let mut file = File::open(&path).map_err(on("open", &path))?;
        let found = hash_of(&file).map_err(on("read", &path))?;
        if !digest.eq_ignore_ascii_case(&format!("sha256:{found}")) {
            return Err(self.broken(format!("blob `{digest}` is damaged")));
        }
        file.rewind().map_err(on("read", &path))?;
        Ok(file)
    }

    fn place(&self, digest: &str) -> Result<PathBuf, Error> {
        let (algorithm, hex) = digest.split_once(':').unwrap_or_default();
        if algorithm != "sha256" || hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(self.broken(format!("`{digest}` is not a digest")));
        }
        Ok(self.folder.join("blobs/sha256").join(hex))
    }

    fn apply(&self, digest: &str, root: &Path, base: u32) -> Result<(), Error> {
        let mut file = self.blob(digest)?;
        let mut start = [0; 4];
        let count = file.read(&mut start).and_then(|count| file.rewind().map(|()| count));
        let count = count.map_err(on("read", &self.place(digest)?))?;
        let file = BufReader::new(file);
        let result = match &start[..count] {
            [0x1f, 0x8b, ..] => apply_layer(flate2::bufread::GzDecoder::new(file), root, base),
            [0x28, 0xb5, 0x2f, 0xfd] => {
                return Err(self.broken("its layers are zstd; gzip or none is needed"));
            }
            _ => apply_layer(file, root, base),
        };
        result.map_err(|error| self.broken(format!("layer `{digest}`: {error}")))
    }
}

/// Returns the SHA-256 of all that is left in `file`, in hexadecimal.
fn hash_of(file: &File) -> std::io::Result<String> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let mut hash = Sha256::new();
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(chunk);
        let count = chunk.len();
        reader.consume(count);
    }
}

fn is_ours(platform: &Platform) -> bool {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    platform.os == "linux" && platform.architecture == architecture
}

fn user(text: &str) -> Option<(u32, u32)> {
    let number = |part: &str| match part {
        "" | "root" => Some(0),
        part => part.parse().ok(),
    };
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    Some((number(user)?, number(group)?))
}

fn apply_layer(layer: impl Read, root: &Path, base: u32) -> std::io::Result<()> {
    let mut archive = tar::Archive::new(layer);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let is_inside =
            path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !is_inside {
            return Err(std::io::Error::other(format!("`{}` leads out of the image", path.display())));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(hidden) = name.strip_prefix(".wh.") {
            let folder = root.join(path.parent().unwrap_or(Path::new("")));
            // A link in a lower layer could lead to the host's own files.
            match fs::canonicalize(&folder) {
                Ok(real) if real.starts_with(fs::canonicalize(root)?) => white_out(&folder, hidden)?,
                _ => {}
            }
            continue;
        }
        let (user, group) = (owner(entry.header().uid()?)?, owner(entry.header().gid()?)?);
        // Device nodes are left out, as the worker's own unpacking leaves them out.
        let kind = entry.header().entry_type();
        if kind.is_character_special() || kind.is_block_special() || kind.is_fifo() {
            continue;
        }
        if entry.unpack_in(root)? && !kind.is_hard_link() {
            lchown(root.join(&path), Some(base + user), Some(base + group))?;
        }
    }
    Ok(())
}

fn owner(id: u64) -> std::io::Result<u32> {
    u32::try_from(id)
        .ok()
        .filter(|id| *id < 65536)
        .ok_or_else(|| std::io::Error::other(format!("owner {id} is out of range")))
}

fn white_out(folder: &Path, hidden: &str) -> std::io::Result<()> {
    let doomed = if hidden == ".wh..opq" {
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?
    } else {
        vec![folder.join(hidden)]
    };
    for path in doomed {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path)?,
            Ok(_) => fs::remove_file(&path)?,
            Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_root() {
        assert_eq!(user(""), Some((0, 0)));
        assert_eq!(user("1000"), Some((1000, 0)));
        assert_eq!(user("1000:50"), Some((1000, 50)));
        assert_eq!(user("root"), Some((0, 0)));
        assert_eq!(user("cnb"), None);
    }

    #[test]
    fn whiteouts_hide_what_lower_layers_brought() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a/one", "a/two", "b/three"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        white_out(root.path(), "b").unwrap();
        white_out(&root.path().join("a"), "one").unwrap();
        white_out(root.path(), "absent").unwrap();
        assert!(!root.path().join("b").exists() && !root.path().join("a/one").exists());
        white_out(&root.path().join("a"), ".wh..opq").unwrap();
        assert_eq!(fs::read_dir(root.path().join("a")).unwrap().count(), 0);
    }

    /// A layout whose index names `text` by `digest`, or by its own when there is none.
    fn layout(text: &str, digest: Option<&str>) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join("text"), text).unwrap();
        let own = hash_of(&File::open(blobs.join("text")).unwrap()).unwrap();
        let hex = digest.map_or(own, str::to_owned);
        fs::rename(blobs.join("text"), blobs.join(&hex)).unwrap();
        let index = format!(
            r#"{{"manifests": [{{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "sha256:{hex}"}}]}}"#
        );
        fs::write(folder.path().join("index.json"), index).unwrap();
        (folder, hex)
    }

    fn refusal(folder: &Path) -> String {
        let work = tempfile::tempdir().unwrap();
        Image::unpack(folder, work.path(), 0).err().unwrap().to_string()
    }

    #[test]
    fn blob_that_is_not_what_its_digest_says_is_damaged() {
        // An index that names itself cannot have the digest that it names.
        let hex = "0".repeat(64);
        let own = format!(r#"{{"manifests": [{{"mediaType": "index", "digest": "sha256:{hex}"}}]}}"#);
        let (folder, _) = layout(&own, Some(&hex));
        assert!(refusal(folder.path()).contains("is damaged"), "{}", refusal(folder.path()));
    }

    #[test]
    fn blob_that_would_keep_its_reader_waiting_is_none() {
        let (folder, hex) = layout("{}", None);
        let blob = folder.path().join("blobs/sha256").join(hex);
        fs::remove_file(&blob).unwrap();
        std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("s"), &blob).unwrap();
        assert!(refusal(folder.path()).contains("is missing"), "{}", refusal(folder.path()));
    }

    #[test]
    fn indexes_are_followed_to_a_depth() {
        let (folder, mut hex) = layout(r#"{"manifests": []}"#, None);
        for _ in 0..DEEPEST {
            let text = format!(r#"{{"manifests": [{{"mediaType": "index", "digest": "sha256:{hex}"}}]}}"#);
            let (other, outer) = layout(&text, None);
            let name = format!("blobs/sha256/{outer}");
            fs::copy(other.path().join(&name), folder.path().join(&name)).unwrap();
            fs::copy(other.path().join("index.json"), folder.path().join("index.json")).unwrap();
            hex = outer;
        }
        assert!(refusal(folder.path()).contains("nested more than 4 deep"), "{}", refusal(folder.path()));
    }
}
