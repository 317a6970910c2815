//! Input at random, for tests that ask whether anything makes a reader stumble. It is always the
//! same, so that what fails once fails again.

use serde_json::{Value, json};

/// Numbers that look random.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    /// Returns one of these.
    pub(crate) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// What may stand where something else belongs.
const PIECES: [&str; 20] = [
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "17592186044416",
    "17592186044417",
    "9223372036854775807",
    "18446744073709551615",
    "[]",
    "{}",
    "[[{}]]",
    r#""""#,
    r#""sha256:../../etc/passwd""#,
    r#""sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#,
    r#""sha512:aa""#,
    r#""application/vnd.oci.image.index.v1+json""#,
    r#""application/vnd.docker.image.rootfs.foreign.diff.tar.gzip""#,
    r#""\u0000\u001b[31m""#,
    r#"{"digest": "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "size": 7}"#,
];

/// Returns manifests of images and of indexes in which something is wrong.
pub(crate) fn manifests() -> impl Iterator<Item = Vec<u8>> {
    let mut random = Random(0x00ba_df00_d5ee_d001);
    (0..5_000).map(move |round| {
        let mut manifest = if round % 2 == 0 { image() } else { index() };
        for _ in 0..=random.below(4) {
            spoil(&mut manifest, &mut random);
        }
        let mut bytes = manifest.to_string().into_bytes();
        if round % 5 == 0 {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap();
            bytes.truncate(bytes.len() - random.below(2) * random.below(bytes.len()));
        }
        bytes
    })
}

/// Puts something else in the place of a value, or of one within it.
fn spoil(value: &mut Value, random: &mut Random) {
    let inner = match value {
        Value::Object(map) if !map.is_empty() && random.below(6) > 0 => {
            let place = random.below(map.len());
            map.values_mut().nth(place)
        }
        Value::Array(list) if !list.is_empty() && random.below(6) > 0 => {
            let place = random.below(list.len());
            list.get_mut(place)
        }
        _ => None,
    };
    match inner {
        Some(inner) => spoil(inner, random),
        None => *value = serde_json::from_str(random.one(&PIECES)).unwrap(),
    }
}

fn named(letter: &str, kind: &str) -> Value {
    json!({"mediaType": kind, "digest": format!("sha256:{}", letter.repeat(64)), "size": 7,
        "annotations": {"a": "b"}, "data": "e30="})
}

fn image() -> Value {
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": named("c", "application/vnd.oci.image.config.v1+json"),
        "layers": [named("d", "application/vnd.oci.image.layer.v1.tar"), named("e", "")],
        "subject": named("f", ""), "annotations": {"a": "b"}})
}

fn index() -> Value {
    let child = |letter: &str, architecture: &str| {
        let mut child = named(letter, "application/vnd.oci.image.manifest.v1+json");
        child["platform"] = json!({"os": "linux", "architecture": architecture, "variant": "v8"});
        child
    };
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [child("a", "amd64"), child("b", "arm64")], "annotations": {"a": "b"}})
}
