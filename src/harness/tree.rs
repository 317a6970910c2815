//! Copies of directories. Concourse gives each container its own copy-on-write volume of an artifact
//! or an image; a plain copy has the same meaning.

use std::fs::{self, File};
use std::io::ErrorKind;
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

/// Copies what is in `from` into the directory `to`, which is made where it is missing. Below `to` no
/// link is followed: what stands in the way of a copy is replaced, unless both are directories.
/// Nothing but the copy may write to either of the two meanwhile.
///
/// # Errors
///
/// When a file cannot be read or written.
pub fn copy(from: &Path, to: &Path, owner: Owner) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(on("create", to))?;
    fill(from, to, owner)
}

fn fill(from: &Path, to: &Path, owner: Owner) -> Result<(), Error> {
    for entry in fs::read_dir(from).map_err(on("read", from))? {
        let entry = entry.map_err(on("read", from))?;
        copy_entry(&entry.path(), &to.join(entry.file_name()), owner)?;
    }
    let metadata = fs::metadata(from).map_err(on("read", from))?;
    chown(to, &metadata, owner)?;
    fs::set_permissions(to, mode(&metadata, owner)).map_err(on("write", to))
}

fn copy_entry(from: &Path, to: &Path, owner: Owner) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(from).map_err(on("read", from))?;
    if metadata.is_dir() {
        if !fs::symlink_metadata(to).is_ok_and(|found| found.is_dir()) {
            clear(to)?;
            fs::create_dir(to).map_err(on("create", to))?;
        }
        return fill(from, to, owner);
    }
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(on("read", from))?;
        clear(to)?;
        symlink(target, to).map_err(on("write", to))?;
        return chown(to, &metadata, owner);
    }
    // Sockets and devices hold nothing that a copy could have.
    if !metadata.is_file() {
        return Ok(());
    }
    clear(to)?;
    let mut source = File::open(from).map_err(on("read", from))?;
    let mut target = File::create_new(to).map_err(on("create", to))?;
    std::io::copy(&mut source, &mut target).map_err(on("copy", from))?;
    chown(to, &metadata, owner)?;
    target.set_permissions(mode(&metadata, owner)).map_err(on("write", to))
}

/// Removes whatever stands at `path`: a link itself and not what it leads to.
fn clear(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(on("replace", path))
}

/// A program that runs as its owner must not become one that runs as the copier.
fn mode(original: &fs::Metadata, owner: Owner) -> fs::Permissions {
    let mode = original.permissions().mode();
    fs::Permissions::from_mode(if owner == Owner::Copier { mode & !0o6000 } else { mode })
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

    #[test]
    fn copy_follows_no_link_that_stands_in_the_target() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["host/folder", "from/folder/deep", "from/plain", "to/file-was-folder/full"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["host/file", "host/linked", "to/plain", "from/folder/deep/new"] {
            fs::write(at(file), "old").unwrap();
        }
        for file in ["from/file", "from/linked", "from/dangling", "from/file-was-folder"] {
            fs::write(at(file), "new").unwrap();
            fs::set_permissions(at(file), fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::set_permissions(at("host/file"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(at("from/folder"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(at("host/folder"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink(at("host/file"), at("to/file")).unwrap();
        symlink(at("host/folder"), at("to/folder")).unwrap();
        symlink(at("host/absent"), at("to/dangling")).unwrap();
        fs::hard_link(at("host/linked"), at("to/linked")).unwrap();

        copy(&at("from"), &at("to"), Owner::Copier).unwrap();

        assert_eq!(fs::read_to_string(at("host/file")).unwrap(), "old");
        assert_eq!(fs::read_to_string(at("host/linked")).unwrap(), "old");
        assert_eq!(fs::metadata(at("host/file")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(at("host/folder")).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(at("host/folder")).unwrap().count(), 0);
        assert!(!at("host/absent").exists());
        for file in ["file", "linked", "dangling", "file-was-folder"] {
            assert!(fs::symlink_metadata(at("to").join(file)).unwrap().is_file(), "{file}");
            assert_eq!(fs::read_to_string(at("to").join(file)).unwrap(), "new", "{file}");
        }
        for folder in ["folder", "folder/deep", "plain"] {
            assert!(fs::symlink_metadata(at("to").join(folder)).unwrap().is_dir(), "{folder}");
        }
    }

    #[test]
    fn link_in_a_copy_replaces_a_directory_and_leaves_what_it_leads_to() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(to.join("link/full")).unwrap();
        symlink("/", from.join("link")).unwrap();
        copy(&from, &to, Owner::Copier).unwrap();
        copy(&from, &to, Owner::Copier).unwrap();
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/"));
    }

    #[test]
    fn program_of_another_owner_does_not_become_one_that_runs_as_the_copier() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::write(from.join("run"), "").unwrap();
        fs::set_permissions(from.join("run"), fs::Permissions::from_mode(0o6755)).unwrap();
        copy(&from, &to, Owner::Copier).unwrap();
        assert_eq!(fs::metadata(to.join("run")).unwrap().permissions().mode() & 0o7777, 0o755);
    }
}
