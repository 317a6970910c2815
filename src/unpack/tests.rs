//! Layers made here, entry by entry, and what becomes of them on disk.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tar::{EntryType, Header};

use super::{Error, Limits, Owners, Tally, Unpacker};

mod hostile;
mod sparse_files;

/// A layer that is being written.
#[derive(Default)]
struct Layer(Vec<u8>);

impl Layer {
    fn entry(mut self, kind: EntryType, (path, link): (&str, &str), mode: u32, data: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        // The builder of the crate refuses the names that these tests are about.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.data(data)
    }

    /// Adds bytes up to the next block.
    fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, path: &str, text: &str) -> Self {
        self.entry(EntryType::Regular, (path, ""), 0o644, text.as_bytes())
    }

    fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, (path, ""), 0o755, b"")
    }

    fn symbolic(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, (path, target), 0o777, b"")
    }

    fn hard(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, (path, target), 0o644, b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let record = |(key, value): &(&str, &[u8])| {
            let rest = key.len() + value.len() + 3;
            let length =
                (1..).map(|digits| rest + digits).find(|all| all.to_string().len() + rest == *all).unwrap();
            [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
        };
        let records: Vec<u8> = records.iter().flat_map(record).collect();
        self.entry(EntryType::XHeader, ("pax", ""), 0o644, &records)
    }

    fn bytes(self) -> Vec<u8> {
        [self.0, vec![0; 1024]].concat()
    }
}

/// A directory that layers are unpacked into, one after the other.
struct Root {
    directory: tempfile::TempDir,
    limits: Limits,
}

impl Root {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), limits: Limits::default() }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.directory.path().join("rootfs").join(path)
    }

    fn try_unpack(&self, layers: &[Vec<u8>]) -> Result<Vec<Tally>, Error> {
        let root = self.path("");
        let mut unpacker = Unpacker::new(&root, Owners::Mine, self.limits, Arc::default())?;
        let tallies = layers.iter().map(|layer| unpacker.layer(&layer[..], layer.len() as u64));
        let tallies = tallies.collect::<Result<_, _>>()?;
        unpacker.finish()?;
        Ok(tallies)
    }

    fn unpack(&self, layers: impl IntoIterator<Item = Layer>) -> Vec<Tally> {
        let layers: Vec<_> = layers.into_iter().map(Layer::bytes).collect();
        self.try_unpack(&layers).unwrap()
    }

    fn error(&self, layers: impl IntoIterator<Item = Layer>) -> String {
        let layers: Vec<_> = layers.into_iter().map(Layer::bytes).collect();
        self.try_unpack(&layers).unwrap_err().to_string()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Returns all that is there, sorted, directories with a slash behind.
    fn listing(&self) -> Vec<String> {
        fn list(folder: &Path, prefix: &str, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.file_type().unwrap().is_dir() {
                    found.push(format!("{name}/"));
                    list(&entry.path(), &format!("{name}/"), found);
                } else {
                    found.push(name);
                }
            }
        }
        let mut found = Vec::new();
        list(&self.path(""), "", &mut found);
        found.sort();
        found
    }
}

#[test]
fn upper_layers_win() {
    let root = Root::new();
    root.unpack([
        Layer::default().folder("etc/").file("etc/a", "lower").file("etc/b", "lower"),
        Layer::default().file("etc/a", "upper"),
    ]);
    assert_eq!((root.text("etc/a").as_str(), root.text("etc/b").as_str()), ("upper", "lower"));
}

#[test]
fn kinds_replace_one_another() {
    let root = Root::new();
    root.unpack([
        Layer::default().folder("a").file("a/inside", "").symbolic("b", "a").file("c", "").file("d", ""),
        Layer::default().file("a", "file now").folder("b").symbolic("c", "a").folder("d").file("d/x", ""),
    ]);
    assert_eq!(root.listing(), ["a", "b/", "c", "d/", "d/x"]);
    assert_eq!(root.text("c"), "file now");
}

#[test]
fn directory_over_a_directory_keeps_what_is_in_it() {
    let root = Root::new();
    root.unpack([
        Layer::default().folder("a").file("a/kept", ""),
        Layer::default().entry(EntryType::Directory, ("a", ""), 0o700, b""),
    ]);
    assert_eq!(root.listing(), ["a/", "a/kept"]);
    assert_eq!(fs::metadata(root.path("a")).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn whiteout_hides_what_lower_layers_brought() {
    let root = Root::new();
    root.unpack([
        Layer::default().folder("a").file("a/x", "").folder("a/y").file("a/y/z", "").file("a/kept", ""),
        Layer::default()
            .file("a/.wh.x", "")
            .file("a/.wh.y", "")
            .file("nowhere/.wh.x", "")
            .file("a/.wh.absent", ""),
    ]);
    assert_eq!(root.listing(), ["a/", "a/kept"]);
}

#[test]
fn opaque_directory_hides_lower_layers_and_not_its_own() {
    let root = Root::new();
    root.unpack([
        Layer::default().folder("a").file("a/old", "").folder("a/both").file("a/both/old", ""),
        Layer::default()
            .folder("a")
            .file("a/early", "")
            .folder("a/both")
            .file("a/both/new", "")
            .file("a/.wh..wh..opq", "")
            .file("a/late", ""),
    ]);
    assert_eq!(root.listing(), ["a/", "a/both/", "a/both/new", "a/early", "a/late"]);
}

#[test]
fn whiteout_spares_what_its_own_layer_put_in_place() {
    let root = Root::new();
    root.unpack([Layer::default().file("a", "lower"), Layer::default().file("a", "upper").file(".wh.a", "")]);
    assert_eq!(root.text("a"), "upper");
}

#[test]
fn notes_of_a_union_file_system_are_left_out() {
    let root = Root::new();
    root.unpack([Layer::default().file(".wh..wh.plnk", "").folder(".wh..wh.aufs").file("a", "")]);
    assert_eq!(root.listing(), ["a"]);
}

#[test]
fn modes_and_times_are_the_images() {
    let root = Root::new();
    root.unpack([Layer::default()
        .entry(EntryType::Directory, ("./", ""), 0o711, b"")
        .entry(EntryType::Directory, ("closed/", ""), 0o555, b"")
        .entry(EntryType::Regular, ("closed/su", ""), 0o4755, b"x")
        .symbolic("link", "closed/su")]);
    let mode = |path: &str| fs::symlink_metadata(root.path(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode(""), mode("closed"), mode("closed/su")), (0o711, 0o555, 0o4755));
    for path in ["", "closed", "closed/su", "link"] {
        assert_eq!(fs::symlink_metadata(root.path(path)).unwrap().mtime(), 1_700_000_000, "{path}");
    }
    // So that the temporary directory can be removed by anyone.
    fs::set_permissions(root.path("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn closed_directory_of_a_lower_layer_can_still_be_filled() {
    let root = Root::new();
    root.unpack([
        Layer::default().entry(EntryType::Directory, ("closed", ""), 0o555, b""),
        Layer::default().file("closed/x", "x"),
    ]);
    assert_eq!(root.text("closed/x"), "x");
    fs::set_permissions(root.path("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn mode_of_a_directory_that_is_gone_is_not_given_to_its_successor() {
    let root = Root::new();
    root.unpack([
        Layer::default().entry(EntryType::Directory, ("a", ""), 0o711, b"").entry(
            EntryType::Directory,
            ("a/b", ""),
            0o711,
            b"",
        ),
        Layer::default().file(".wh.a", ""),
        Layer::default().file("a/b/c", ""),
    ]);
    for path in ["a", "a/b"] {
        assert_eq!(fs::metadata(root.path(path)).unwrap().mode() & 0o7777, 0o755, "{path}");
    }
}

#[test]
fn hard_links_share_a_file_across_layers() {
    let root = Root::new();
    root.unpack([
        Layer::default().folder("a").file("a/one", "x"),
        Layer::default()
            .hard("b/two", "a/one")
            .hard("b/two", "./a/one")
            .symbolic("s", "a")
            .hard("three", "/s/one"),
    ]);
    let inode = |path: &str| fs::metadata(root.path(path)).unwrap().ino();
    assert_eq!(inode("a/one"), inode("b/two"));
    assert_eq!(inode("a/one"), inode("three"));
}

#[test]
fn hard_link_to_itself_changes_nothing() {
    let root = Root::new();
    root.unpack([Layer::default().file("a", "x").hard("a", "a")]);
    assert_eq!(root.text("a"), "x");
}

#[test]
fn writing_to_one_name_of_a_file_leaves_the_other_alone() {
    let root = Root::new();
    root.unpack([Layer::default().file("a", "old").hard("b", "a"), Layer::default().file("a", "new")]);
    assert_eq!((root.text("a").as_str(), root.text("b").as_str()), ("new", "old"));
}

#[test]
fn parents_that_no_entry_made_are_made() {
    let root = Root::new();
    root.unpack([Layer::default().file("a/b/c/d", "x")]);
    assert_eq!(root.listing(), ["a/", "a/b/", "a/b/c/", "a/b/c/d"]);
}

#[test]
fn links_on_the_way_are_followed_inside_the_image() {
    let root = Root::new();
    root.unpack([
        Layer::default()
            .folder("run")
            .symbolic("var/run", "/run")
            .symbolic("up", "../../../run")
            .symbolic("dangling", "/made/later"),
        Layer::default().file("var/run/one", "").file("up/two", "").file("dangling/three", ""),
    ]);
    for path in ["run/one", "run/two", "made/later/three"] {
        assert!(root.path(path).exists(), "{path}: {:?}", root.listing());
    }
}

#[test]
fn device_nodes_are_left_out_and_pipes_are_not() {
    let root = Root::new();
    let tallies = root.unpack([Layer::default()
        .entry(EntryType::Char, ("dev/null", ""), 0o666, b"")
        .entry(EntryType::Block, ("dev/sda", ""), 0o666, b"")
        .entry(EntryType::Fifo, ("pipe", ""), 0o620, b"")]);
    assert_eq!(root.listing(), ["pipe"]);
    let pipe = fs::metadata(root.path("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo() && pipe.mode() & 0o7777 == 0o620);
    assert_eq!(tallies[0].devices, 2);
}

#[test]
fn pax_says_what_a_header_cannot() {
    let root = Root::new();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    root.unpack([Layer::default()
        .pax(&[("path", long.as_bytes()), ("mtime", b"1600000000.25")])
        .file("short", "x")
        .pax(&[("linkpath", long.as_bytes())])
        .symbolic("link", "short")
        .file("next", "is not touched")]);
    assert_eq!(root.text("link"), "x");
    let metadata = fs::metadata(root.path(&long)).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_600_000_000, 250_000_000));
    assert_eq!(root.text("next"), "is not touched");
}

#[test]
fn long_names_of_gnu_are_read() {
    let root = Root::new();
    let (long, target) = ("n".repeat(150), "t".repeat(150));
    root.unpack([Layer::default()
        .entry(EntryType::GNULongLink, ("././@LongLink", ""), 0o644, format!("{target}\0").as_bytes())
        .entry(EntryType::GNULongName, ("././@LongLink", ""), 0o644, format!("{long}\0").as_bytes())
        .symbolic("cut", "cut")]);
    assert_eq!(fs::read_link(root.path(&long)).unwrap(), Path::new(&target));
}

#[test]
fn name_with_a_prefix_is_joined() {
    let root = Root::new();
    let mut layer = Layer::default().file("name", "x").bytes();
    let mut header = Header::from_byte_slice(&layer[..512]).clone();
    header.as_mut_bytes()[345..351].copy_from_slice(b"folder");
    header.set_cksum();
    layer[..512].copy_from_slice(header.as_bytes());
    root.try_unpack(&[layer]).unwrap();
    assert_eq!(root.text("folder/name"), "x");
}

#[test]
fn name_that_is_no_utf_8_is_kept() {
    let root = Root::new();
    root.unpack([Layer::default().pax(&[("path", b"caf\xe9")]).file("x", "")]);
    let name = fs::read_dir(root.path("")).unwrap().next().unwrap().unwrap().file_name();
    assert_eq!(std::os::unix::ffi::OsStrExt::as_bytes(&*name), b"caf\xe9");
}

#[test]
fn layers_are_read_by_their_first_bytes() {
    let plain = Layer::default().file("a", "x").bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain[..700]).unwrap();
    let mut second = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    second.write_all(&plain[700..]).unwrap();
    let members = [gzip.finish().unwrap(), second.finish().unwrap()].concat();
    for layer in [plain.clone(), members, zstd::encode_all(&plain[..], 3).unwrap()] {
        let root = Root::new();
        root.try_unpack(&[layer]).unwrap();
        assert_eq!(root.text("a"), "x");
    }
}

#[test]
fn layer_without_entries_is_fine() {
    for empty in [Vec::new(), vec![0; 512], vec![0; 1024], vec![0; 10240]] {
        assert_eq!(Root::new().try_unpack(&[empty]).unwrap(), [Tally::default()]);
    }
}

#[test]
fn unpacking_stops_when_it_is_told_to() {
    let root = Root::new();
    let stop = Arc::new(AtomicBool::new(false));
    let mut unpacker = Unpacker::new(&root.path(""), Owners::Mine, Limits::default(), stop.clone()).unwrap();
    let layer = Layer::default().file("a", "").bytes();
    unpacker.layer(&layer[..], 1).unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(matches!(unpacker.layer(&layer[..], 1), Err(Error::Stopped)));
}

#[test]
fn owners_are_the_images_for_root_alone() {
    let root = Root::new();
    let mut layer = Layer::default().pax(&[("uid", b"1234"), ("gid", b"77")]).file("a", "");
    layer = layer.pax(&[("uid", b"1234"), ("gid", b"77")]).entry(EntryType::Regular, ("su", ""), 0o4755, b"");
    let layer = layer.pax(&[("uid", b"1234"), ("gid", b"77")]).symbolic("link", "a").bytes();
    let owners = Owners::here();
    let mut unpacker = Unpacker::new(&root.path(""), owners, Limits::default(), Arc::default()).unwrap();
    unpacker.layer(&layer[..], 1).unwrap();
    let mine = fs::metadata(root.directory.path()).unwrap().uid();
    let wanted = if owners == Owners::FromImage { 1234 } else { mine };
    for path in ["a", "su", "link"] {
        assert_eq!(fs::symlink_metadata(root.path(path)).unwrap().uid(), wanted, "{path}");
    }
    assert_eq!(fs::metadata(root.path("su")).unwrap().mode() & 0o7777, 0o4755);
}

#[test]
fn attributes_that_a_program_needs_are_kept() {
    let root = Root::new();
    let tally = root.unpack([Layer::default()
        .pax(&[("SCHILY.xattr.user.note", b"a\nb"), ("SCHILY.xattr.trusted.overlay.opaque", b"y")])
        .file("a", "")])[0];
    let mut value = [0; 16];
    match rustix::fs::getxattr(root.path("a"), "user.note", &mut value[..]) {
        Ok(length) => assert_eq!((&value[..length], tally.attributes), (&b"a\nb"[..], 0)),
        // A file system that keeps none is counted and nothing else.
        Err(_) => assert_eq!(tally.attributes, 1),
    }
}
