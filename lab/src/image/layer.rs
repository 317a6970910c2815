//! One layer: files as a gzipped tar whose bytes depend on nothing but the files.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::{Blob, LAYER, sha256};

/// What a path in a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file with its mode.
    File {
        /// The permission bits.
        mode: u32,
        /// What is in it.
        content: Vec<u8>,
    },
    /// An empty directory with its mode; the directories above files come by themselves.
    Directory {
        /// The permission bits.
        mode: u32,
    },
    /// A symbolic link to this target.
    Link(String),
}

impl Entry {
    /// A file that everybody may read.
    pub fn text(content: impl Into<String>) -> Self {
        Self::File { mode: 0o644, content: content.into().into_bytes() }
    }

    /// A program from the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn program(path: &Path) -> anyhow::Result<Self> {
        let content = std::fs::read(path)
            .with_context(|| format!("failed to read the program `{}`", path.display()))?;
        Ok(Self::File { mode: 0o755, content })
    }
}

/// A layer of an image.
#[derive(Clone, Debug)]
pub struct Layer {
    name: String,
    diff_id: String,
    blob: Blob,
}

impl Layer {
    /// Packs entries, keyed by their path from the root, into a layer; the name goes into the history.
    ///
    /// # Errors
    /// A path that no tar can hold.
    pub fn new(name: &str, entries: &BTreeMap<String, Entry>) -> anyhow::Result<Self> {
        let tar = pack(entries).with_context(|| format!("failed to pack the layer `{name}`"))?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&tar)?;
        Ok(Self { name: name.to_owned(), diff_id: sha256(&tar), blob: Blob::new(LAYER, gzip.finish()?) })
    }

    /// Keeps the packed layer, which takes a while to pack when it is large.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let mut bytes = format!("{}\n", self.diff_id).into_bytes();
        bytes.extend(&self.blob.bytes);
        std::fs::write(path, bytes).with_context(|| format!("failed to write the layer `{}`", path.display()))
    }

    /// Reads a layer that was kept.
    ///
    /// # Errors
    /// The file cannot be read, or is no such layer.
    pub fn load(name: &str, path: &Path) -> anyhow::Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("failed to read the layer `{}`", path.display()))?;
        let end = bytes.iter().position(|byte| *byte == b'\n').context("a layer has no first line")?;
        let diff_id = std::str::from_utf8(&bytes[..end]).context("a layer's first line is not a digest")?;
        Ok(Self {
            name: name.to_owned(),
            diff_id: diff_id.to_owned(),
            blob: Blob::new(LAYER, bytes[end + 1..].to_vec()),
        })
    }

    /// Returns what the history calls the layer.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the digest of the layer's tar.
    pub fn diff_id(&self) -> &str {
        &self.diff_id
    }

    /// Returns the compressed layer.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }
}

pub(super) fn pack(entries: &BTreeMap<String, Entry>) -> anyhow::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, entry) in with_parents(entries) {
        match entry {
            Entry::File { mode, content } => tar.append_data(
                &mut header(EntryType::Regular, mode, content.len()),
                path,
                content.as_slice(),
            )?,
            Entry::Directory { mode } => {
                tar.append_data(&mut header(EntryType::Directory, mode, 0), path, std::io::empty())?;
            }
            Entry::Link(target) => {
                tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?;
            }
        }
    }
    Ok(tar.into_inner()?)
}

/// Adds the directories above each entry, so that runtimes need not invent their modes.
fn with_parents(entries: &BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let parents: BTreeSet<String> = entries
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(position, _)| path[..position].to_owned()))
        .collect();
    let mut all: BTreeMap<String, Entry> =
        parents.into_iter().map(|path| (path, Entry::Directory { mode: 0o755 })).collect();
    all.extend(entries.iter().map(|(path, entry)| (path.clone(), entry.clone())));
    all
}

fn header(kind: EntryType, mode: u32, length: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(length as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
