//! The directory that is unpacked into, and the way to a place in it. Every name is looked up from
//! the directory's own descriptor, one component at a time, and symbolic links are followed as a
//! process with this root would follow them: whatever a layer says, no step leads outside.
//!
//! `openat2` would do the same in one call, but the sandboxes of older container runtimes refuse it.

use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::names::{self, DEEPEST};

/// As many links as Linux follows on the way to one file.
const LINKS: usize = 40;

/// What to do on the way when a directory is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Create,
    Leave,
}

pub(super) struct Tree {
    root: OwnedFd,
    /// The last directory that was looked up: a layer's entries come directory by directory. Whatever
    /// is removed may have been on the way there, so that forgets it.
    near: Option<(Vec<u8>, Arc<OwnedFd>)>,
}

impl Tree {
    /// Opens the root directory, making it where it is missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().mode(0o755).recursive(true).create(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty())?, near: None })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Returns the directory at a clean path.
    pub(super) fn folder(&mut self, path: &[u8], missing: Missing) -> Result<Option<Arc<OwnedFd>>, Errno> {
        if let Some((known, folder)) = &self.near
            && known == path
        {
            return Ok(Some(folder.clone()));
        }
        let found = self.walk(path, missing)?.map(Arc::new);
        if let Some(folder) = &found {
            self.near = Some((path.to_vec(), folder.clone()));
        }
        Ok(found)
    }

    /// Opens the directory at a clean path for a change of its own; `None` when there is none, or
    /// something else.
    pub(super) fn itself(&mut self, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
        let Some((parent, name)) = names::split(path) else {
            return self.root.try_clone().map(Some).map_err(|_| Errno::MFILE);
        };
        let parent = match self.folder(parent, Missing::Leave) {
            Ok(Some(parent)) => parent,
            Ok(None) | Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error),
        };
        match read(&parent, OsStr::from_bytes(name)) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what is at `name`, but for the inodes to `keep`. Returns whether nothing is left.
    pub(super) fn remove(
        &mut self,
        folder: &OwnedFd,
        name: &OsStr,
        keep: &HashSet<u64>,
    ) -> Result<bool, Errno> {
        self.near = None;
        remove(folder, name, keep)
    }

    /// Removes all that is in `folder`, but for the inodes to `keep`.
    pub(super) fn clear(&mut self, folder: &OwnedFd, keep: &HashSet<u64>) -> Result<bool, Errno> {
        self.near = None;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        clear(&rustix::fs::openat(folder, ".", flags, Mode::empty())?, keep)
    }

    fn walk(&self, path: &[u8], missing: Missing) -> Result<Option<OwnedFd>, Errno> {
        let mut way: Vec<OwnedFd> = Vec::new();
        let mut ahead: VecDeque<OsString> = components(path);
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            let here = way.last().unwrap_or(&self.root);
            if name == ".." {
                way.pop();
                continue;
            }
            match enter(here, &name) {
                // Links can lead deeper than names are long.
                Ok(_) if way.len() >= DEEPEST => return Err(Errno::NAMETOOLONG),
                Ok(next) => way.push(next),
                Err(Errno::NOENT) if missing == Missing::Leave => return Ok(None),
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(here, &*name, Mode::from_raw_mode(0o755))?;
                    ahead.push_front(name);
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let target = rustix::fs::readlinkat(here, &*name, Vec::new());
                    let target =
                        target.map_err(|error| if error == Errno::INVAL { Errno::NOTDIR } else { error })?;
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP);
                    }
                    if target.to_bytes().starts_with(b"/") {
                        way.clear();
                    }
                    for part in components(target.to_bytes()).into_iter().rev() {
                        ahead.push_front(part);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        way.pop().map_or_else(|| self.root.try_clone().map_err(|_| Errno::MFILE), Ok).map(Some)
    }
}

fn components(path: &[u8]) -> VecDeque<OsString> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.map(|part| OsString::from_vec(part.to_vec())).collect()
}

fn enter(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn read(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn remove(folder: &OwnedFd, name: &OsStr, keep: &HashSet<u64>) -> Result<bool, Errno> {
    let stat = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(true),
        Err(error) => return Err(error),
    };
    let is_kept = keep.contains(&stat.st_ino);
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let is_empty = clear(&read(folder, name)?, keep)?;
        if is_empty && !is_kept {
            rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)?;
        }
        return Ok(is_empty && !is_kept);
    }
    if !is_kept {
        rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
    }
    Ok(!is_kept)
}

fn clear(folder: &OwnedFd, keep: &HashSet<u64>) -> Result<bool, Errno> {
    // All names first: a directory that changes while it is listed may hide some of them.
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    let mut is_empty = true;
    for name in names {
        is_empty &= remove(folder, &name, keep)?;
    }
    Ok(is_empty)
}
