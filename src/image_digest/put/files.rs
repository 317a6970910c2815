//! The files of an image on disk, in a directory or in an archive: found by name, read from any place
//! without being unpacked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use tar::Archive;

use super::Error;

/// Manifests, configs and lists beyond this are no honest ones.
const TEXT_LIMIT: u64 = 4 << 20;

/// An archive with more entries than these is a root directory and no image.
const MOST_ENTRIES: usize = 100_000;

/// So many links lead to a file in no honest archive.
const MOST_LINKS: usize = 8;

pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];
pub(super) const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A directory or an archive.
pub(super) struct Files {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Directory,
    Archive { file: Arc<File>, entries: BTreeMap<String, Entry> },
}

enum Entry {
    File { offset: u64, length: u64 },
    Link { target: String },
}

/// A stretch of a file.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    file: Arc<File>,
    offset: u64,
    /// How many bytes it has.
    pub(super) length: u64,
}

impl Extent {
    /// Returns a reader of its bytes from the start.
    pub(super) fn reader(&self) -> Reader {
        Reader { file: self.file.clone(), at: self.offset, end: self.offset + self.length }
    }

    /// Returns whether it begins with `magic`.
    pub(super) fn starts_with(&self, magic: &[u8]) -> io::Result<bool> {
        let mut start = vec![0; magic.len()];
        if (magic.len() as u64) > self.length {
            return Ok(false);
        }
        self.file.read_exact_at(&mut start, self.offset)?;
        Ok(start == magic)
    }
}

/// Reads an extent; several can read the same file at the same time.
pub(super) struct Reader {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        if left == 0 {
            return Ok(0);
        }
        match self.file.read_at(&mut buffer[..left], self.at)? {
            // Somebody shortened the file while it was read.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.at += read as u64;
                Ok(read)
            }
        }
    }
}

impl Files {
    /// Opens what `path` names. A compressed archive is unpacked to a file without a name in `scratch`.
    pub(super) fn open(path: &Path, scratch: &Path) -> Result<Self, Error> {
        let reading = || Error::reading(path);
        if path.metadata().map_err(reading())?.is_dir() {
            return Ok(Self { path: path.to_owned(), kind: Kind::Directory });
        }
        let mut file = File::open(path).map_err(reading())?;
        let extent = whole(&file).map_err(reading())?;
        if extent.starts_with(&GZIP).map_err(reading())? {
            file = unpacked(extent.reader(), scratch).map_err(|error| bad(path, ends_early(&error)))?;
        } else if extent.starts_with(&ZSTD).map_err(reading())? {
            return Err(bad(path, "it is compressed with zstd, and only gzip is read".to_owned()));
        }
        let entries = entries(&mut file).map_err(|problem| bad(path, problem))?;
        if entries.is_empty() {
            return Err(bad(path, "there is nothing in it".to_owned()));
        }
        Ok(Self { path: path.to_owned(), kind: Kind::Archive { file: Arc::new(file), entries } })
    }

    /// Returns whether it is an archive.
    pub(super) fn is_archive(&self) -> bool {
        matches!(self.kind, Kind::Archive { .. })
    }

    /// Returns an error about it.
    pub(super) fn bad(&self, problem: impl Into<String>) -> Error {
        bad(&self.path, problem.into())
    }

    /// Finds a file.
    pub(super) fn find(&self, name: &str) -> Result<Option<Extent>, Error> {
        match &self.kind {
            Kind::Directory => {
                let path = self.path.join(name);
                match File::open(&path) {
                    Ok(file) => whole(&file).map(Some).map_err(Error::reading(path)),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(Error::Read { path, source: error }),
                }
            }
            Kind::Archive { file, entries } => {
                let found = followed(entries, name).map_err(|problem| self.bad(problem))?;
                Ok(found.map(|(offset, length)| Extent { file: file.clone(), offset, length }))
            }
        }
    }

    /// Reads a small file.
    pub(super) fn text(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(extent) = self.find(name)? else { return Ok(None) };
        if extent.length > TEXT_LIMIT {
            return Err(self.bad(format!("`{name}` has more than {TEXT_LIMIT} bytes")));
        }
        let mut text = Vec::new();
        extent.reader().read_to_end(&mut text).map_err(Error::reading(self.path.join(name)))?;
        Ok(Some(text))
    }

    /// Reads a small file that has to be there.
    pub(super) fn needed(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    /// Returns the error about a file that is not there.
    pub(super) fn missing(&self, name: &str) -> Error {
        self.bad(format!("`{name}` is missing in it"))
    }
}

fn bad(path: &Path, problem: String) -> Error {
    Error::Image { path: path.to_owned(), problem }
}

fn whole(file: &File) -> io::Result<Extent> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(Extent { file: Arc::new(file.try_clone()?), offset: 0, length: metadata.len() })
}

fn unpacked(packed: Reader, scratch: &Path) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(scratch)?;
    io::copy(&mut MultiGzDecoder::new(BufReader::with_capacity(1 << 18, packed)), &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn ends_early(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends early".to_owned(),
        _ => error.to_string(),
    }
}

/// Lists an archive. Only the headers are read.
fn entries(file: &mut File) -> Result<BTreeMap<String, Entry>, String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let words = |error: io::Error| format!("not a tar archive: {error}");
    let mut archive = Archive::new(BufReader::new(file));
    let mut found = BTreeMap::new();
    for entry in archive.entries_with_seek().map_err(words)? {
        let entry = match entry {
            Ok(entry) => entry,
            // What follows whole entries and is none itself is the rest of one.
            Err(_) if !found.is_empty() => return Err("it ends early, or is damaged".to_owned()),
            Err(error) => return Err(words(error)),
        };
        let name = plain(&String::from_utf8_lossy(&entry.path_bytes()));
        let kind = entry.header().entry_type();
        let entry = if kind.is_file() || kind.is_contiguous() {
            let (offset, length) = (entry.raw_file_position(), entry.size());
            // Seeking over the end is no error, so it would not be seen.
            if offset.checked_add(length).is_none_or(|end| end > size) {
                return Err(format!("it ends early, in `{name}`"));
            }
            Entry::File { offset, length }
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = String::from_utf8_lossy(&target).into_owned();
            // A hard link names its target from the top, a symbolic one from where it stands.
            let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
            let target = if kind.is_symlink() { format!("{parent}/{target}") } else { target };
            Entry::Link { target: plain(&target) }
        } else {
            continue;
        };
        found.insert(name, entry);
        if found.len() > MOST_ENTRIES {
            return Err(format!("it has more than {MOST_ENTRIES} files"));
        }
    }
    Ok(found)
}

/// Returns a name without what does not matter in it: `./a//b/../c` is `a/c`.
fn plain(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn followed(entries: &BTreeMap<String, Entry>, name: &str) -> Result<Option<(u64, u64)>, String> {
    let mut name = plain(name);
    for _ in 0..MOST_LINKS {
        match entries.get(&name) {
            Some(Entry::File { offset, length }) => return Ok(Some((*offset, *length))),
            Some(Entry::Link { target }) => name.clone_from(target),
            None => return Ok(None),
        }
    }
    Err(format!("`{name}` is a link without end"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tar::{Builder, EntryType, Header};

    use super::*;

    fn archive(files: &[(&str, &str)], links: &[(&str, &str, EntryType)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = Header::new_gnu();
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        for (name, target, kind) in links {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Files, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.tar");
        fs::write(&path, bytes).unwrap();
        Files::open(&path, directory.path())
            .map_err(|error| error.to_string().replace(&path.display().to_string(), "image.tar"))
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn files_are_found_by_name_in_plain_and_gzipped_archives() {
        let bytes = archive(&[("./a/b", "hello"), ("empty", "")], &[]);
        for bytes in [bytes.clone(), gzipped(&bytes)] {
            let files = open(&bytes).unwrap();
            assert_eq!(files.text("a/b").unwrap().as_deref(), Some(&b"hello"[..]));
            assert_eq!(files.text("empty").unwrap().as_deref(), Some(&b""[..]));
            assert_eq!(files.text("a").unwrap(), None);
            assert!(files.find("a/b").unwrap().unwrap().starts_with(b"hell").unwrap());
            assert!(!files.find("empty").unwrap().unwrap().starts_with(b"h").unwrap());
        }
    }

    #[test]
    fn links_are_followed_within_the_archive() {
        let files = [("one/layer.tar", "layer")];
        let links = [
            ("two/layer.tar", "../one/layer.tar", EntryType::Symlink),
            ("three", "two/layer.tar", EntryType::Link),
            ("out", "../../../etc/passwd", EntryType::Symlink),
            ("ring", "ring", EntryType::Symlink),
        ];
        let files = open(&archive(&files, &links)).unwrap();
        for name in ["two/layer.tar", "three"] {
            assert_eq!(files.text(name).unwrap().as_deref(), Some(&b"layer"[..]), "{name}");
        }
        assert!(files.find("out").unwrap().is_none());
        assert!(files.find("ring").unwrap_err().to_string().contains("a link without end"));
    }

    #[test]
    fn damaged_archives_are_named() {
        let good = archive(&[("a", &"x".repeat(2000)), ("b", &"y".repeat(2000))], &[]);
        let packed = gzipped(&good);
        let mut wrong_sum = good.clone();
        wrong_sum[0] = b'z';
        for (bytes, words) in [
            (&b""[..], "there is nothing in it"),
            (b"hello", "not a tar archive"),
            (&[b'x'; 2048], "not a tar archive"),
            (&[0; 2048], "there is nothing in it"),
            (&wrong_sum, "not a tar archive"),
            (&good[..1500], "it ends early, in `a`"),
            (&good[..2560 + 600], "it ends early, in `b`"),
            (&good[..2560 + 100], "it ends early"),
            (&packed[..packed.len() / 2], "it ends early"),
            (&packed[..6], "it ends early"),
            (&ZSTD, "only gzip is read"),
        ] {
            let error = open(bytes).err().unwrap_or_default();
            assert!(
                error.starts_with("`image.tar` is not an image that can be pushed: "),
                "{words}: {error}"
            );
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn size_that_no_archive_has_is_no_panic() {
        let mut header = Header::new_gnu();
        header.set_path("a").unwrap();
        header.set_size(u64::MAX >> 1);
        header.set_cksum();
        let error = open(header.as_bytes()).err().unwrap();
        assert!(error.contains("it ends early") || error.contains("not a tar archive"), "{error}");
    }

    #[test]
    fn directory_is_read_where_it_lies() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("blobs")).unwrap();
        fs::write(directory.path().join("blobs/x"), "hello").unwrap();
        let files = Files::open(directory.path(), directory.path()).unwrap();
        assert_eq!(files.text("blobs/x").unwrap().as_deref(), Some(&b"hello"[..]));
        assert!(files.find("blobs/y").unwrap().is_none());
        assert!(files.find("blobs").is_err());
        let huge = File::create(directory.path().join("huge")).unwrap();
        huge.set_len(TEXT_LIMIT + 1).unwrap();
        assert!(files.text("huge").is_err());
    }
}
