//! Layers that mean harm, layers that are broken, and many that are broken at random.

use std::fs;
use std::io::Write;

use tar::EntryType;

use super::{Layer, Root};
use crate::fuzz::Random;
use crate::unpack::{Error, Limits};

/// A root with a file beside it that no layer may touch.
fn guarded() -> Root {
    let root = Root::new();
    fs::write(root.directory.path().join("outside"), "untouched").unwrap();
    fs::create_dir(root.directory.path().join("folder")).unwrap();
    fs::write(root.directory.path().join("folder/inside"), "untouched").unwrap();
    root
}

fn assert_untouched(root: &Root, what: &str) {
    let outside = root.directory.path();
    assert_eq!(fs::read_to_string(outside.join("outside")).unwrap(), "untouched", "{what}");
    assert_eq!(fs::read_to_string(outside.join("folder/inside")).unwrap(), "untouched", "{what}");
    let mut left: Vec<_> = fs::read_dir(outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert!(
        left.iter().all(|name| ["folder", "outside", "rootfs"].iter().any(|known| name == known)),
        "{what}: {left:?}"
    );
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../outside", "a/../../outside", "..", ".wh...", "a/.wh..", "../folder/.wh..wh..opq", ".wh."]
    {
        let root = guarded();
        let error = root.error([Layer::default().folder("a").file(name, "hit")]);
        assert_eq!(error, format!("`{name}` leads out of the image"));
        assert_untouched(&root, name);
    }
}

#[test]
fn hard_links_that_lead_out_are_refused() {
    let root = guarded();
    let error = root.error([Layer::default().hard("a", "../outside")]);
    assert_eq!(error, "`../outside` leads out of the image");
    assert_untouched(&root, "hard link");
}

#[test]
fn absolute_names_are_the_images_own() {
    let root = guarded();
    let absolute = root.directory.path().join("outside");
    let absolute = absolute.to_str().unwrap();
    root.unpack([Layer::default().file(absolute, "inside")]);
    assert_eq!(root.text(&absolute[1..]), "inside");
    assert_untouched(&root, "absolute");
}

#[test]
fn links_that_point_outside_lead_nowhere_outside() {
    let root = guarded();
    let outside = root.directory.path().to_str().unwrap().to_owned();
    for (name, target) in [
        ("absolute", outside.as_str()),
        ("relative", ".."),
        ("far", "../../../../../../../.."),
        ("kernel", "/proc/self/cwd/.."),
    ] {
        root.unpack([
            Layer::default().symbolic(name, target),
            Layer::default()
                .file(&format!("{name}/outside"), "hit")
                .file(&format!("{name}/folder/.wh..wh..opq"), ""),
            Layer::default().file(&format!("{name}/.wh.outside"), "").hard(&format!("{name}-hard"), name),
            Layer::default().folder(&format!("{name}/folder")).file(&format!("{name}/folder/new"), ""),
        ]);
        assert_untouched(&root, name);
    }
}

#[test]
fn file_over_a_link_replaces_the_link_and_not_its_target() {
    let root = guarded();
    root.unpack([
        Layer::default().symbolic("a", "../outside").symbolic("b", "../folder"),
        Layer::default().file("a", "hit").entry(EntryType::Directory, ("b", ""), 0o700, b""),
        Layer::default().symbolic("b", "../folder").file(".wh.b", ""),
    ]);
    assert_untouched(&root, "links");
    assert_eq!(root.text("a"), "hit");
}

#[test]
fn mode_of_a_directory_does_not_reach_through_a_link() {
    let root = guarded();
    root.unpack([Layer::default()
        .entry(EntryType::Directory, ("a", ""), 0o700, b"")
        .symbolic("a", "../folder")]);
    let mode =
        std::os::unix::fs::MetadataExt::mode(&fs::metadata(root.directory.path().join("folder")).unwrap());
    assert_ne!(mode & 0o7777, 0o700);
}

#[test]
fn links_in_a_circle_are_an_error() {
    let root = guarded();
    let error = root.error([Layer::default().symbolic("a", "b").symbolic("b", "a").file("a/x", "")]);
    assert_eq!(error, "failed to write `a/x`");
}

#[test]
fn file_in_the_way_of_a_directory_is_an_error() {
    let error = guarded().error([Layer::default().file("a", "").file("a/x", "")]);
    assert_eq!(error, "failed to write `a/x`");
}

#[test]
fn entries_that_make_no_sense_are_named() {
    let cases: [(Layer, &str); 6] = [
        (Layer::default().hard("a", "absent"), "`a` links to `absent`, which is not there"),
        (Layer::default().hard("a", "no/where"), "`a` links to `no/where`, which is not there"),
        (Layer::default().folder("d").hard("a", "d"), "`a` is a hard link to a directory"),
        (Layer::default().hard("a", "/"), "`a` links to `/`, which is not there"),
        (Layer::default().file("./", "x"), "`./` is the root directory, and no directory"),
        (Layer::default().entry(EntryType::new(b'Z'), ("a", ""), 0, b""), "`a` is of the unknown kind `Z`"),
    ];
    for (layer, wanted) in cases {
        assert_eq!(guarded().error([layer]), wanted);
    }
}

#[test]
fn names_in_messages_cannot_command_a_terminal() {
    let error = guarded().error([Layer::default().file("\x1b[2Jx/../..", "")]);
    assert!(!error.contains('\x1b'), "{error:?}");
    let error = guarded().error([Layer::default().pax(&[("path", &[b'a'; 5000])]).file("x", "")]);
    assert!(error.len() < 300, "{error}");
}

#[test]
fn layer_that_is_no_archive_is_said_to_be_none() {
    for garbage in [&b"{\"not\": \"a layer\"}"[..], &[b'x'; 512], &[b'x'; 2000]] {
        let error = guarded().try_unpack(&[garbage.to_vec()]).unwrap_err();
        assert!(matches!(error, Error::NotTar), "{error}");
    }
}

#[test]
fn layer_that_ends_early_is_damaged_wherever_it_ends() {
    let whole = Layer::default().file("a", &"x".repeat(600)).pax(&[("path", b"b")]).file("c", "y").bytes();
    // Inside a header, inside a file, inside its padding, between a header and the entry it is about.
    for length in [100, 512, 700, 1200, 1536 + 512, 1536 + 1024, 1536 + 1024 + 300] {
        let root = guarded();
        let result = root.try_unpack(&[whole[..length].to_vec()]);
        assert!(matches!(result, Err(Error::Damaged(_) | Error::NotTar)), "{length}: {result:?}");
    }
}

#[test]
fn damage_in_compressed_layers_is_an_error() {
    let plain = Layer::default().file("a", &"x".repeat(100_000)).bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    for whole in [gzip.finish().unwrap(), zstd::encode_all(&plain[..], 3).unwrap()] {
        let cut = whole[..whole.len() / 2].to_vec();
        assert!(guarded().try_unpack(&[cut]).is_err());
        let mut broken = whole;
        let middle = broken.len() / 2;
        broken[middle..].fill(0xff);
        assert!(guarded().try_unpack(&[broken]).is_err());
    }
}

#[test]
fn bombs_are_refused() {
    let mut root = guarded();
    root.limits = Limits { ratio: 10, allowance: 100_000, ..Limits::default() };
    let plain = Layer::default().file("a", &"\0".repeat(10_000_000)).bytes();
    for bomb in [zstd::encode_all(&plain[..], 3).unwrap(), {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&plain).unwrap();
        gzip.finish().unwrap()
    }] {
        let error = root.try_unpack(&[bomb]).unwrap_err();
        assert!(matches!(error, Error::TooBig { limit } if limit < 1_000_000), "{error}");
    }
    assert_untouched(&root, "bomb");
}

#[test]
fn all_layers_together_have_a_limit_too() {
    let mut root = guarded();
    root.limits = Limits { bytes: 5000, ..Limits::default() };
    let layer = || Layer::default().file("a", &"x".repeat(1500));
    assert!(root.error([layer(), layer(), layer()]).starts_with("it unpacks to more than"));
    root.limits = Limits { entries: 2, ..Limits::default() };
    assert!(root.error([layer(), layer(), layer()]).ends_with("or to too many files"));
}

#[test]
fn header_that_is_longer_than_any_honest_one_is_refused() {
    for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::XGlobalHeader] {
        let layer = Layer::default().entry(kind, ("x", ""), 0o644, &vec![b'a'; (1 << 20) + 1]);
        assert_eq!(guarded().error([layer]), "its archive is damaged: a header is longer than 1 MiB");
    }
}

const NAMES: [&str; 16] = [
    "a",
    "b",
    "a/b",
    "a/b/c",
    "../outside",
    "/outside",
    "a/../../outside",
    ".wh.a",
    "a/.wh.b",
    "a/.wh..wh..opq",
    ".wh..wh..opq",
    "a/../b",
    "./",
    "..",
    "a/..",
    "b/../a/outside",
];

fn random_layer(random: &mut Random) -> Layer {
    let kinds = [b'0', b'0', b'1', b'2', b'2', b'5', b'5', b'6', b'3', b'L', b'x', b'K'];
    (0..random.below(12)).fold(Layer::default(), |layer, _| {
        let kind = EntryType::new(kinds[random.below(kinds.len())]);
        let name = random.one(&NAMES);
        let link =
            random.one(&["a", "..", "../..", "/", "../outside", "../folder", "b", "a/b", "/proc/self/root"]);
        let data = random.one(&["", "x", "18 path=../outside\n", "12 size=99\n", "../folder/inside\0"]);
        let mode = u32::try_from(random.below(0o10000)).unwrap() | 0o700;
        layer.entry(kind, (name, link), mode, data.as_bytes())
    })
}

#[test]
fn no_random_layer_touches_what_is_outside() {
    let mut random = Random(0x5eed_1234_abcd_0001);
    for round in 0..200 {
        let root = guarded();
        for _ in 0..3 {
            let layer = random_layer(&mut random).bytes();
            // Whether it is taken or refused is not the question.
            let _ = root.try_unpack(&[layer]);
        }
        assert_untouched(&root, &format!("round {round}"));
    }
}

#[test]
fn no_random_damage_makes_it_stumble() {
    let mut random = Random(0x0dd_ba11);
    let mut root = guarded();
    root.limits = Limits { allowance: 1 << 20, ..Limits::default() };
    let whole = Layer::default()
        .pax(&[("path", b"long/name"), ("SCHILY.xattr.user.a", b"b"), ("mtime", b"1.5")])
        .file("a", "text")
        .entry(EntryType::GNULongName, ("x", ""), 0, b"other/name\0")
        .folder("b")
        .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"5000"), ("GNU.sparse.name", b"s")])
        .entry(EntryType::Regular, ("s", ""), 0o644, &[&b"1\n0\n4\n"[..], &[0; 506], b"data"].concat())
        .hard("c", "s")
        .symbolic("d", "b")
        .bytes();
    for round in 0..600 {
        let mut layer = whole.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(layer.len());
            layer[at] = u8::try_from(random.below(256)).unwrap();
            // Every second time the header is made to look whole again.
            if round % 2 == 0 {
                let start = at - at % 512;
                let mut header = tar::Header::from_byte_slice(&layer[start..start + 512]).clone();
                header.set_cksum();
                layer[start..start + 512].copy_from_slice(header.as_bytes());
            }
        }
        let _ = root.try_unpack(&[layer]);
        assert_untouched(&root, &format!("round {round}"));
    }
}
