//! Layers onto a directory, as a container runtime would stack them. Hostile layers are the rule to
//! design for: nothing is written outside the directory, nothing is read into memory whole, and what
//! unpacks to far more than it weighs is refused. Where layers come from is not known here.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

mod archive;
mod codec;
mod error;
mod limits;
mod names;
mod pax;
mod sparse;
mod tree;

pub use error::Error;
pub use limits::Limits;

use archive::{Archive, Entry, Kind};
use error::write_error;
use limits::Metered;
use tree::{Missing, Tree};

/// A directory's mode and time are set when everything is in it. So many are remembered; beyond
/// that, what is known so far is set early, which costs accuracy and not memory.
const FOLDERS: usize = 200_000;

/// How much of a file is copied at once.
const CHUNK: usize = 128 << 10;

/// Whose the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// As the image says; only root may do that.
    FromImage,
    /// All of them belong to who unpacks.
    Mine,
}

impl Owners {
    /// Returns what this process may do.
    #[must_use]
    pub fn here() -> Self {
        if rustix::process::geteuid().is_root() { Self::FromImage } else { Self::Mine }
    }
}

/// What one layer brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Its entries, whiteouts included.
    pub entries: u64,
    /// The size of its files.
    pub bytes: u64,
    /// Device nodes, which are left out.
    pub devices: u64,
    /// Extended attributes that the file system or the kernel did not take.
    pub attributes: u64,
}

/// A directory's mode and time.
struct Folder {
    mode: u32,
    time: (i64, u32),
}

/// Where an entry goes.
struct Place<'a> {
    /// From the root, clean.
    path: &'a [u8],
    /// The directory that it is in.
    folder: &'a OwnedFd,
    name: &'a OsStr,
}

/// A root directory in the making.
pub struct Unpacker {
    tree: Tree,
    owners: Owners,
    limits: Limits,
    stop: Arc<AtomicBool>,
    /// What is left of the limits on all layers together.
    bytes_left: u64,
    entries_left: u64,
    folders: BTreeMap<Vec<u8>, Folder>,
    /// The inodes that the current layer made: its whiteouts are about lower layers only.
    written: HashSet<u64>,
    tally: Tally,
    buffer: Vec<u8>,
}

impl Unpacker {
    /// Returns an unpacker into `root`, which is made if it is not there. Once `stop` is set, a layer
    /// ends with [`Error::Stopped`].
    ///
    /// # Errors
    /// When `root` is no directory that can be written to.
    pub fn new(root: &Path, owners: Owners, limits: Limits, stop: Arc<AtomicBool>) -> Result<Self, Error> {
        let tree = Tree::open(root).map_err(|source| write_error(root.as_os_str().as_bytes(), source))?;
        Ok(Self {
            tree,
            owners,
            limits,
            stop,
            bytes_left: limits.bytes,
            entries_left: limits.entries,
            folders: BTreeMap::new(),
            written: HashSet::new(),
            tally: Tally::default(),
            buffer: vec![0; CHUNK],
        })
    }

    /// Applies a layer of `size` compressed bytes on top of what is there.
    ///
    /// # Errors
    /// When the layer is damaged, hostile or too big, or a file cannot be written. What is there then
    /// is of no use.
    pub fn layer(&mut self, layer: impl Read, size: u64) -> Result<Tally, Error> {
        self.written.clear();
        self.tally = Tally::default();
        let most = self.limits.of_layer(size).min(self.bytes_left);
        let decoded = codec::decoded(layer).map_err(Error::Read)?;
        let mut archive = Archive::new(Metered::new(decoded, most, self.stop.clone()));
        while let Some(entry) = archive.next()? {
            let logical = entry.sparse.as_ref().map_or(0, |sparse| sparse.real);
            if self.entries_left == 0 || logical > most {
                return Err(Error::TooBig { limit: most });
            }
            self.entries_left -= 1;
            self.tally.entries += 1;
            self.entry(&entry, &mut archive)?;
        }
        self.bytes_left = self.bytes_left.saturating_sub(archive.count());
        Ok(self.tally)
    }

    /// Sets what has to be set last: the modes and the times of directories.
    ///
    /// # Errors
    /// When one of them cannot be changed.
    pub fn finish(mut self) -> Result<(), Error> {
        self.settle()
    }

    fn entry(&mut self, entry: &Entry, archive: &mut Archive<impl Read>) -> Result<(), Error> {
        let path = names::clean(&entry.path).ok_or_else(|| Error::outside(&entry.path))?;
        let Some((parent, name)) = names::split(&path) else {
            return self.top(entry);
        };
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            return self.white_out(entry, parent, hidden);
        }
        match entry.kind {
            Kind::Device => {
                self.tally.devices += 1;
                return Ok(());
            }
            Kind::Ignored => return Ok(()),
            Kind::Unknown(flag) => {
                let problem = format!("is of the unknown kind `{}`", flag.escape_ascii());
                return Err(Error::entry(&entry.path, problem));
            }
            _ => {}
        }
        let failed = |source: Errno| write_error(&entry.path, source.into());
        let folder = self.tree.folder(parent, Missing::Create).map_err(failed)?;
        let folder = folder.ok_or_else(|| failed(Errno::NOTDIR))?;
        let place = Place { path: &path, folder: &folder, name: OsStr::from_bytes(name) };
        match entry.kind {
            Kind::Directory => self.directory(entry, &place),
            Kind::HardLink => self.hard_link(entry, &place),
            Kind::File => self.file(entry, archive, &place),
            _ => self.special(entry, &place),
        }
    }

    /// The root directory itself: it has a mode and a time like any other.
    fn top(&mut self, entry: &Entry) -> Result<(), Error> {
        if entry.kind != Kind::Directory {
            return Err(Error::entry(&entry.path, "is the root directory, and no directory".to_owned()));
        }
        if let Some((user, group)) = self.owner(entry)? {
            let failed = |source: Errno| write_error(&entry.path, source.into());
            rustix::fs::fchown(self.tree.root(), Some(user), Some(group)).map_err(failed)?;
        }
        self.remember(Vec::new(), entry)
    }

    fn white_out(&mut self, entry: &Entry, parent: &[u8], hidden: &[u8]) -> Result<(), Error> {
        let failed = |source: Errno| write_error(&entry.path, source.into());
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::outside(&entry.path));
        }
        let is_opaque = hidden == b".wh..opq";
        // The other names of this kind are notes of a union file system to itself.
        if hidden.starts_with(b".wh.") && !is_opaque {
            return Ok(());
        }
        // Whatever is in the way of the directory, there is nothing to hide.
        let folder = match self.tree.folder(parent, Missing::Leave) {
            Ok(Some(folder)) => folder,
            Ok(None) | Err(Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if is_opaque {
            return self.tree.clear(&folder, &self.written).map(drop).map_err(failed);
        }
        let gone = self.tree.remove(&folder, OsStr::from_bytes(hidden), &self.written).map_err(failed)?;
        if gone {
            self.forget(&names::join(parent, hidden));
        }
        Ok(())
    }

    fn directory(&mut self, entry: &Entry, place: &Place<'_>) -> Result<(), Error> {
        let Place { folder, name, .. } = *place;
        let failed = |source: Errno| write_error(&entry.path, source.into());
        // Whoever unpacks must be able to write into it until the end, whatever its mode is to be.
        let mode = Mode::from_raw_mode(entry.mode & 0o777 | 0o700);
        let mut stat = None;
        if let Err(error) = rustix::fs::mkdirat(folder, name, mode) {
            if error != Errno::EXIST {
                return Err(failed(error));
            }
            stat = Some(stat_of(folder, name).map_err(failed)?).filter(is_directory);
            if stat.is_none() {
                self.replace(place).map_err(failed)?;
                rustix::fs::mkdirat(folder, name, mode).map_err(failed)?;
            }
        }
        let stat = stat.map_or_else(|| stat_of(folder, name), Ok).map_err(failed)?;
        self.written.insert(stat.st_ino);
        self.own(entry, &stat, place)?;
        self.remember(place.path.to_vec(), entry)
    }

    fn hard_link(&mut self, entry: &Entry, place: &Place<'_>) -> Result<(), Error> {
        let Place { folder, name, .. } = *place;
        let failed = |source: Errno| write_error(&entry.path, source.into());
        let absent = || {
            let link = String::from_utf8_lossy(&entry.link).into_owned();
            Error::entry(&entry.path, format!("links to `{link}`, which is not there"))
        };
        let target = names::clean(&entry.link).ok_or_else(|| Error::outside(&entry.link))?;
        let (parent, target) = names::split(&target).ok_or_else(absent)?;
        let target = OsStr::from_bytes(target);
        let from = self.tree.folder(parent, Missing::Leave).map_err(failed)?.ok_or_else(absent)?;
        let wanted = match stat_of(&from, target) {
            Ok(stat) if is_directory(&stat) => {
                return Err(Error::entry(&entry.path, "is a hard link to a directory".to_owned()));
            }
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Err(absent()),
            Err(error) => return Err(failed(error)),
        };
        self.written.insert(wanted.st_ino);
        let link = || rustix::fs::linkat(&from, target, folder, name, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {
                // A link to itself must not remove what it links to.
                if stat_of(folder, name).is_ok_and(|there| there.st_ino == wanted.st_ino) {
                    return Ok(());
                }
                self.replace(place).map_err(failed)?;
                link().map_err(|error| if error == Errno::NOENT { absent() } else { failed(error) })
            }
            result => result.map_err(failed),
        }
    }

    fn file(
        &mut self,
        entry: &Entry,
        archive: &mut Archive<impl Read>,
        place: &Place<'_>,
    ) -> Result<(), Error> {
        let Place { folder, name, .. } = *place;
        let failed = |source: Errno| write_error(&entry.path, source.into());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & 0o777 | 0o600);
        let file = match rustix::fs::openat(folder, name, flags, mode) {
            Err(Errno::EXIST) => {
                self.replace(place).map_err(failed)?;
                rustix::fs::openat(folder, name, flags, mode)
            }
            result => result,
        };
        let file = File::from(file.map_err(failed)?);
        self.content(entry, archive, &file)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        self.written.insert(stat.st_ino);
        self.tally.bytes += u64::try_from(stat.st_size).unwrap_or_default();
        let owner = self.owner(entry)?.filter(|owner| !owns(&stat, *owner));
        if let Some((user, group)) = owner {
            rustix::fs::fchown(&file, Some(user), Some(group)).map_err(failed)?;
        }
        // A change of owner takes away set-user-id, so the mode comes after it.
        if owner.is_some() || stat.st_mode & 0o7777 != entry.mode & 0o7777 {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode & 0o7777)).map_err(failed)?;
        }
        self.attributes(entry, &file);
        rustix::fs::futimens(&file, &times(entry.time)).map_err(failed)
    }

    /// Copies the entry's data; holes stay holes.
    fn content(&mut self, entry: &Entry, archive: &mut Archive<impl Read>, file: &File) -> Result<(), Error> {
        let failed = |source| write_error(&entry.path, source);
        let whole = [(0, entry.size)];
        let parts = entry.sparse.as_ref().map_or(&whole[..], |sparse| &sparse.parts);
        for (start, length) in parts.iter().copied() {
            let mut done = 0;
            while done < length {
                let most = usize::try_from(length - done).unwrap_or(CHUNK).min(CHUNK);
                let count = archive.read(&mut self.buffer[..most])?;
                file.write_all_at(&self.buffer[..count], start + done).map_err(failed)?;
                done += count as u64;
            }
        }
        match &entry.sparse {
            Some(sparse) => file.set_len(sparse.real).map_err(failed),
            None => Ok(()),
        }
    }

    /// A symbolic link or a named pipe.
    fn special(&mut self, entry: &Entry, place: &Place<'_>) -> Result<(), Error> {
        let Place { folder, name, .. } = *place;
        let failed = |source: Errno| write_error(&entry.path, source.into());
        let is_link = entry.kind == Kind::SymbolicLink;
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        let make = || {
            if is_link {
                return rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), folder, name);
            }
            rustix::fs::mknodat(folder, name, FileType::Fifo, mode, 0)
        };
        match make() {
            Err(Errno::EXIST) => {
                self.replace(place).map_err(failed)?;
                make().map_err(failed)?;
            }
            result => result.map_err(failed)?,
        }
        let stat = stat_of(folder, name).map_err(failed)?;
        self.written.insert(stat.st_ino);
        self.own(entry, &stat, place)?;
        if !is_link {
            rustix::fs::chmodat(folder, name, mode, AtFlags::empty()).map_err(failed)?;
        }
        rustix::fs::utimensat(folder, name, &times(entry.time), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
    }

    fn own(&self, entry: &Entry, stat: &Stat, place: &Place<'_>) -> Result<(), Error> {
        let Place { folder, name, .. } = *place;
        let Some(owner) = self.owner(entry)?.filter(|owner| !owns(stat, *owner)) else { return Ok(()) };
        let failed = |source: Errno| write_error(&entry.path, source.into());
        rustix::fs::chownat(folder, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed)
    }

    fn owner(&self, entry: &Entry) -> Result<Option<(Uid, Gid)>, Error> {
        if self.owners == Owners::Mine {
            return Ok(None);
        }
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        match (id(entry.user), id(entry.group)) {
            (Some(user), Some(group)) => Ok(Some((Uid::from_raw(user), Gid::from_raw(group)))),
            _ => Err(Error::entry(&entry.path, "has an owner that no system knows".to_owned())),
        }
    }

    /// Sets what a program needs to run as it was built: its capabilities, and what users may set.
    /// A file system that cannot keep them is no reason to stop.
    fn attributes(&mut self, entry: &Entry, file: &File) {
        for (name, value) in &entry.attributes {
            if name != b"security.capability" && !name.starts_with(b"user.") {
                continue;
            }
            let set = rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty());
            self.tally.attributes += u64::from(set.is_err());
        }
    }

    fn replace(&mut self, place: &Place<'_>) -> Result<(), Errno> {
        self.tree.remove(place.folder, place.name, &HashSet::new())?;
        self.forget(place.path);
        Ok(())
    }

    /// Forgets what was to be set on directories that are gone.
    fn forget(&mut self, path: &[u8]) {
        self.folders.remove(path);
        let inside = names::join(path, b"");
        let below = self.folders.range(inside.clone()..).map(|(path, _)| path);
        let doomed: Vec<_> = below.take_while(|path| path.starts_with(&inside)).cloned().collect();
        for path in doomed {
            self.folders.remove(&path);
        }
    }

    fn remember(&mut self, path: Vec<u8>, entry: &Entry) -> Result<(), Error> {
        self.folders.insert(path, Folder { mode: entry.mode & 0o7777, time: entry.time });
        if self.folders.len() > FOLDERS { self.settle() } else { Ok(()) }
    }

    /// The innermost directories come first, so that no mode is in the way.
    fn settle(&mut self) -> Result<(), Error> {
        while let Some((path, folder)) = self.folders.pop_last() {
            let failed = |source: Errno| write_error(&path, source.into());
            match self.tree.itself(&path) {
                Ok(Some(directory)) => {
                    let directory = directory.as_fd();
                    rustix::fs::fchmod(directory, Mode::from_raw_mode(folder.mode)).map_err(failed)?;
                    rustix::fs::futimens(directory, &times(folder.time)).map_err(failed)?;
                }
                Ok(None) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

fn stat_of(folder: &OwnedFd, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn owns(stat: &Stat, (user, group): (Uid, Gid)) -> bool {
    (stat.st_uid, stat.st_gid) == (user.as_raw(), group.as_raw())
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests;
