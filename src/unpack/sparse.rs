//! Maps of sparse files, and the numbers of tar headers that they are made of. Pure.

use super::Error;
use super::pax::{PARTS, decimal};

/// A file with holes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sparse {
    /// Where its data is, and how much of it.
    pub(super) parts: Vec<(u64, u64)>,
    /// Its size, holes included.
    pub(super) real: u64,
}

impl Sparse {
    /// Returns whether the parts follow one another, end within the file and need `stored` bytes.
    pub(super) fn fits(&self, stored: u64) -> bool {
        let mut end = 0u64;
        let mut sum = 0u64;
        for (start, length) in &self.parts {
            let Some(next) = start.checked_add(*length).filter(|_| *start >= end) else { return false };
            end = next;
            sum += length;
        }
        end <= self.real && sum == stored
    }
}

/// Reads pairs of an offset and a length in the fields of GNU's headers.
pub(super) fn fields(bytes: &[u8], parts: &mut Vec<(u64, u64)>) -> Result<(), Error> {
    let damaged = || Error::Damaged("the map of a sparse file is malformed");
    for pair in bytes.chunks_exact(24) {
        if pair[0] == 0 || pair[12] == 0 {
            break;
        }
        let read =
            |field: &[u8]| number(field).and_then(|value| u64::try_from(value).ok()).ok_or_else(damaged);
        parts.push((read(&pair[..12])?, read(&pair[12..])?));
    }
    if parts.len() > PARTS { Err(damaged()) } else { Ok(()) }
}

/// Reads a number in a tar header: octal, or the base-256 that GNU uses for what octal cannot hold.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let is_negative = field[0] & 0x40 != 0;
        let mut value: i128 = if is_negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 && !is_negative { byte & 0x7f } else { *byte };
            value = value.checked_mul(256)?.checked_add(i128::from(byte))?;
        }
        return i64::try_from(value).ok();
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() {
        return Some(0);
    }
    let is_plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    i64::from_str_radix(text, 8).ok().filter(|_| is_plain)
}

/// The map in front of a sparse file's data: a count, then offsets and lengths, one number a line.
#[derive(Default)]
pub(super) struct Text {
    text: Vec<u8>,
    lines: usize,
}

impl Text {
    pub(super) fn push(&mut self, block: &[u8]) {
        self.lines += block.iter().filter(|byte| **byte == b'\n').count();
        self.text.extend_from_slice(block);
    }

    /// Returns whether all numbers that the first one announces are there.
    pub(super) fn is_whole(&self) -> Result<bool, Error> {
        let damaged = Error::Damaged("the map of a sparse file is malformed");
        match self.numbers().next() {
            _ if self.lines == 0 => {
                if self.text.is_empty() {
                    Ok(false)
                } else {
                    Err(damaged)
                }
            }
            Some(Some(count)) if count <= PARTS as u64 => Ok(self.lines as u64 > count * 2),
            _ => Err(damaged),
        }
    }

    pub(super) fn parts(&self) -> Result<Vec<(u64, u64)>, Error> {
        let damaged = || Error::Damaged("the map of a sparse file is malformed");
        let numbers: Option<Vec<u64>> = self.numbers().take(self.lines).collect();
        let numbers = numbers.ok_or_else(damaged)?;
        let count = numbers.first().and_then(|count| usize::try_from(*count).ok()).ok_or_else(damaged)?;
        Ok(numbers[1..].chunks_exact(2).take(count).map(|pair| (pair[0], pair[1])).collect())
    }

    fn numbers(&self) -> impl Iterator<Item = Option<u64>> {
        self.text.split(|byte| *byte == b'\n').map(decimal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        for (field, wanted) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"\x80\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff", Some(-1)),
            (b"0000648\0", None),
            (b"-1\0", None),
            (b"+1\0", None),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), wanted, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn map_that_contradicts_the_file_does_not_fit() {
        let sparse = |parts: &[(u64, u64)]| Sparse { parts: parts.to_vec(), real: 100 };
        assert!(sparse(&[(0, 10), (50, 50)]).fits(60) && sparse(&[]).fits(0) && sparse(&[(100, 0)]).fits(0));
        for wrong in [&[(0, 10), (5, 5)][..], &[(50, 51)], &[(u64::MAX, 2)], &[(0, 60), (70, 1)]] {
            assert!(!sparse(wrong).fits(60), "{wrong:?}");
        }
    }

    #[test]
    fn map_in_text_is_read_block_by_block() {
        let mut map = Text::default();
        assert!(!map.is_whole().unwrap());
        map.push(b"2\n0\n512\n");
        assert!(!map.is_whole().unwrap());
        map.push(b"4096\n5\n\0\0\0");
        assert!(map.is_whole().unwrap());
        assert_eq!(map.parts().unwrap(), [(0, 512), (4096, 5)]);
        let mut endless = Text::default();
        endless.push(&[b'9'; 512]);
        assert!(endless.is_whole().is_err());
    }
}
