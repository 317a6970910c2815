//! Where a get writes until it is complete: a directory beside the files to be, which appear in
//! their places only at the end and all together. Whatever stops the step before that, what is left
//! is at most this directory, by a name that says what it is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::Error;

/// The name of the directory.
const NAME: &str = ".image-digest.partial";

/// What may be big; an earlier one is never written over.
const CONTENT: [&str; 3] = ["rootfs", "oci", "image.tar"];

/// The files in the making.
pub(super) struct Stage {
    target: PathBuf,
    folder: PathBuf,
}

impl Stage {
    /// Makes the directory; what a run that was killed left in its place is removed.
    pub(super) fn open(target: &Path) -> Result<Self, Error> {
        if let Some(name) = CONTENT.iter().find(|name| is_taken(&target.join(name))) {
            return Err(Error::Taken { path: target.join(name) });
        }
        let folder = target.join(NAME);
        let made = match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => DirBuilder::new().mode(0o700).create(&folder),
        };
        made.map_err(written(&folder))?;
        Ok(Self { target: target.to_owned(), folder })
    }

    /// Returns the place of a file or directory until it is complete.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a directory in it, and what is missing on the way.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path(name);
        fs::create_dir_all(&path).map_err(written(&path))?;
        Ok(path)
    }

    /// Writes a small file.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.write_with(name, bytes, 0o644)
    }

    /// Writes a small file with this mode, less what the process's mask takes away.
    pub(super) fn write_with(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let path = self.path(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        file.and_then(|mut file| file.write_all(bytes)).map_err(written(&path))
    }

    /// Moves all files to their places, big ones first. When one cannot be, those before it are
    /// taken back.
    pub(super) fn commit(self) -> Result<(), Error> {
        let mut moved = Vec::new();
        let result = self.names().and_then(|names| {
            for name in names {
                let place = self.target.join(&name);
                fs::rename(self.folder.join(&name), &place).map_err(written(&place))?;
                moved.push(place);
            }
            Ok(())
        });
        if result.is_err() {
            for place in moved {
                remove(&place);
            }
        }
        result
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let listed = fs::read_dir(&self.folder).map_err(written(&self.folder))?;
        let mut names: Vec<String> =
            listed.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with('.'));
        names.sort_by_key(|name| (!CONTENT.contains(&name.as_str()), name.clone()));
        Ok(names)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Returns how to tell that `path` could not be written.
pub(super) fn written(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Write { path, source }
}

fn is_taken(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

fn remove(path: &Path) {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let _ = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn all_files_appear_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let stage = Stage::open(directory.path()).unwrap();
        stage.folder("rootfs/etc").unwrap();
        stage.folder(".layers").unwrap();
        stage.write("tag", b"latest").unwrap();
        assert_eq!(left(directory.path()), [NAME]);
        stage.commit().unwrap();
        assert_eq!(left(directory.path()), ["rootfs", "tag"]);
    }

    #[test]
    fn nothing_is_left_when_a_file_cannot_be_moved() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("tag")).unwrap();
        let stage = Stage::open(directory.path()).unwrap();
        stage.folder("oci").unwrap();
        stage.write("digest", b"sha256:x").unwrap();
        stage.write("tag", b"latest").unwrap();
        assert!(stage.commit().unwrap_err().to_string().contains("tag"));
        assert_eq!(left(directory.path()), ["tag"]);
    }

    #[test]
    fn what_a_killed_run_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join(NAME).join("rootfs/half")).unwrap();
        let stage = Stage::open(directory.path()).unwrap();
        stage.write("tag", b"latest").unwrap();
        stage.commit().unwrap();
        assert_eq!(left(directory.path()), ["tag"]);
    }

    #[test]
    fn content_of_someone_else_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("oci/blobs")).unwrap();
        assert!(matches!(Stage::open(directory.path()), Err(Error::Taken { .. })));
        assert_eq!(left(directory.path()), ["oci"]);
    }
}
