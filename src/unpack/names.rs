//! Names of entries: cleaned, or refused. Pure.

/// No path of an image is longer, as the kernel takes none that is.
const LONGEST: usize = 4095;

/// No honest image nests deeper; a directory this deep can still be removed.
pub(super) const DEEPEST: usize = 256;

/// Returns `raw` relative to the root directory, without `.`, `..`, doubled or trailing slashes; the
/// root itself is empty. `None` for a name that leads out of it or cannot be one.
pub(super) fn clean(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.len() > LONGEST || raw.contains(&0) {
        return None;
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (parts.len() <= DEEPEST).then(|| parts.join(&b'/'))
}

/// Splits a clean path into directory and name; `None` for the root.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    let slash = path.iter().rposition(|byte| *byte == b'/');
    Some(slash.map_or((&[][..], path), |slash| (&path[..slash], &path[slash + 1..])))
}

/// Returns the path of `name` in `parent`.
pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        for (raw, wanted) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("/etc/passwd", "etc/passwd"),
            ("a/./../b", "b"),
            ("./", ""),
            ("", ""),
            ("...", "..."),
        ] {
            assert_eq!(clean(raw.as_bytes()).as_deref(), Some(wanted.as_bytes()), "{raw}");
        }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let deep = "a/".repeat(DEEPEST + 1);
        let long = "a".repeat(LONGEST + 1);
        for raw in ["..", "../a", "a/../../b", "/..", "a\0b", &deep, &long] {
            assert_eq!(clean(raw.as_bytes()), None, "{raw}");
        }
    }

    #[test]
    fn path_is_split_and_joined() {
        assert_eq!(split(b"a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
        assert_eq!(split(b"a"), Some((&b""[..], &b"a"[..])));
        assert_eq!(split(b""), None);
        assert_eq!(join(b"", b"a"), b"a");
        assert_eq!(join(b"a", b"b"), b"a/b");
    }
}
