//! Copies of directories. Concourse gives each container its own copy-on-write volume of an artifact
//! or an image; a plain copy has the same meaning.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use super::{Error, on};

/// Whose the copies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Whoever makes the copy.
    Copier,
    /// As in the original; needs root.
    Same,
    /// This user and group; needs root.
    Is(u32),
}

/// Copies what is in `from` into the directory `to`, which is made where it is missing.
///
/// # Errors
///
/// When a file cannot be read or written.
pub fn copy(from: &Path, to: &Path, owner: Owner) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(on("create", to))?;
    for entry in fs::read_dir(from).map_err(on("read", from))? {
        let entry = entry.map_err(on("read", from))?;
        copy_entry(&entry.path(), &to.join(entry.file_name()), owner)?;
    }
    let metadata = fs::metadata(from).map_err(on("read", from))?;
    chown(to, &metadata, owner)?;
    fs::set_permissions(to, metadata.permissions()).map_err(on("write", to))
}

fn copy_entry(from: &Path, to: &Path, owner: Owner) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(from).map_err(on("read", from))?;
    if metadata.is_dir() {
        return copy(from, to, owner);
    }
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(on("read", from))?;
        if fs::symlink_metadata(to).is_ok() {
            fs::remove_file(to).map_err(on("replace", to))?;
        }
        symlink(target, to).map_err(on("write", to))?;
        return chown(to, &metadata, owner);
    }
    // Sockets and devices hold nothing that a copy could have.
    if !metadata.is_file() {
        return Ok(());
    }
    fs::copy(from, to).map_err(on("copy", from))?;
    chown(to, &metadata, owner)?;
    fs::set_permissions(to, metadata.permissions()).map_err(on("write", to))
}

fn chown(path: &Path, original: &fs::Metadata, owner: Owner) -> Result<(), Error> {
    let (user, group) = match owner {
        Owner::Copier => return Ok(()),
        Owner::Same => (original.uid(), original.gid()),
        Owner::Is(id) => (id, id),
    };
    lchown(path, Some(user), Some(group)).map_err(on("change the owner of", path))
}

/// Makes `path` a directory that others may pass through, so that a mapped root reaches what is below.
///
/// # Errors
///
/// When it cannot be made.
pub fn passable(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(on("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o711)).map_err(on("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_keeps_modes_links_and_what_is_already_there() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(from.join("deep")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(to.join("kept"), "k").unwrap();
        fs::write(from.join("deep/run"), "x").unwrap();
        fs::set_permissions(from.join("deep/run"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("deep/run", from.join("link")).unwrap();

        copy(&from, &to, Owner::Copier).unwrap();

        assert_eq!(fs::metadata(to.join("deep/run")).unwrap().permissions().mode() & 0o777, 0o750);
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("deep/run"));
        assert_eq!(fs::read_to_string(to.join("kept")).unwrap(), "k");
    }
}
