//! Files with holes, in the four ways in which archives write them.

use tar::EntryType;

use super::{Layer, Root};

fn wanted() -> Vec<u8> {
    [&b"head"[..], &[0; 4092], b"tail", &[0; 900]].concat()
}

fn check(layer: Layer) {
    let root = Root::new();
    root.unpack([layer.file("next", "is not touched")]);
    assert_eq!(std::fs::read(root.path("a")).unwrap(), wanted());
    assert_eq!(root.text("next"), "is not touched");
}

/// A header of GNU's sparse format with these parts; `more` says that a block with others follows.
fn gnu(parts: &[(u64, u64)], more: bool, real: u64, stored: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_path("a").unwrap();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(stored);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_is_extended(more);
    gnu.set_real_size(real);
    for (field, (offset, length)) in gnu.sparse.iter_mut().zip(parts) {
        field.set_offset(*offset);
        field.set_length(*length);
    }
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn gnu_writes_the_map_into_the_header() {
    let header = gnu(&[(0, 4), (4096, 4), (5000, 0)], false, 5000, 8);
    check(Layer(header).data(b"headtail"));
}

#[test]
fn gnu_writes_a_long_map_into_blocks_of_its_own() {
    let header = gnu(&[(0, 1), (1, 1), (2, 1), (3, 1)], true, 5000, 8);
    let mut more = tar::GnuExtSparseHeader::new();
    more.sparse_mut()[0].set_offset(4096);
    more.sparse_mut()[0].set_length(4);
    check(Layer([&header[..], more.as_bytes()].concat()).data(b"headtail"));
}

#[test]
fn pax_writes_the_map_into_records() {
    let records: [(&str, &[u8]); 6] = [
        ("GNU.sparse.size", b"5000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"0"),
        ("GNU.sparse.numbytes", b"4"),
        ("GNU.sparse.offset", b"4096"),
        ("GNU.sparse.numbytes", b"4"),
    ];
    check(Layer::default().pax(&records).file("a", "headtail"));
}

#[test]
fn pax_writes_the_map_into_one_record() {
    let records: [(&str, &[u8]); 3] =
        [("GNU.sparse.size", b"5000"), ("GNU.sparse.map", b"0,4,4096,4"), ("GNU.sparse.name", b"a")];
    check(Layer::default().pax(&records).file("GNUSparseFile.1/a", "headtail"));
}

#[test]
fn pax_writes_the_map_in_front_of_the_data() {
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"a"),
        ("GNU.sparse.realsize", b"5000"),
    ];
    let map = b"2\n0\n4\n4096\n4\n";
    let data = [&map[..], &vec![0; 512 - map.len()], b"headtail"].concat();
    check(Layer::default().pax(&records).entry(EntryType::Regular, ("GNUSparseFile.1/a", ""), 0o644, &data));
}

#[test]
fn map_that_contradicts_the_file_is_refused() {
    for header in [
        gnu(&[(0, 4), (2, 4)], false, 5000, 8),
        gnu(&[(4996, 8)], false, 5000, 8),
        gnu(&[(0, 4)], false, 5000, 8),
        gnu(&[(0, 1 << 40)], false, 5000, 8),
    ] {
        let error = Root::new().error([Layer(header).data(b"headtail")]);
        assert_eq!(error, "its archive is damaged: a sparse file contradicts itself");
    }
}

#[test]
fn hole_that_is_bigger_than_a_layer_may_unpack_to_is_refused() {
    let header = gnu(&[(0, 4)], false, 1 << 50, 4);
    let error = Root::new().error([Layer(header).data(b"head")]);
    assert!(error.starts_with("it unpacks to more than"), "{error}");
}
