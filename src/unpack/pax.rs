//! pax records: what an entry's header cannot hold. Pure.

use super::Error;

/// A sparse file has no more parts than this.
pub(super) const PARTS: usize = 100_000;

/// What the records before an entry say about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) user: Option<u64>,
    pub(super) group: Option<u64>,
    pub(super) time: Option<(i64, u32)>,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseRecords,
}

/// What they say about a sparse file, in any of the three versions of that format.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SparseRecords {
    pub(super) major: u64,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real: Option<u64>,
    pub(super) parts: Vec<(u64, u64)>,
    offset: Option<u64>,
}

impl Pax {
    /// Reads records of the form `LENGTH KEY=VALUE\n`; values may have any byte in them.
    pub(super) fn read(mut data: &[u8]) -> Result<Self, Error> {
        let mut pax = Self::default();
        while !data.is_empty() {
            let damaged = Error::Damaged("a pax record is malformed");
            let Some((record, rest)) = first(data) else { return Err(damaged) };
            let Some(equals) = record.iter().position(|byte| *byte == b'=') else { return Err(damaged) };
            pax.set(&record[..equals], &record[equals + 1..]).ok_or(damaged)?;
            data = rest;
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = || Some(value.to_vec()).filter(|value| !value.is_empty());
        // An empty value takes back what an earlier record said.
        let number = || if value.is_empty() { Some(None) } else { decimal(value).map(Some) };
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = number()?,
            b"uid" => self.user = number()?,
            b"gid" => self.group = number()?,
            b"mtime" if value.is_empty() => self.time = None,
            b"mtime" => self.time = Some(time(value)?),
            b"GNU.sparse.major" => self.sparse.major = decimal(value)?,
            b"GNU.sparse.name" => self.sparse.name = text(),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real = Some(decimal(value)?),
            b"GNU.sparse.offset" => self.sparse.offset = Some(decimal(value)?),
            b"GNU.sparse.numbytes" => self.sparse.add(decimal(value)?)?,
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> = value.split(|byte| *byte == b',').map(decimal).collect();
                let numbers = numbers.filter(|numbers| numbers.len().is_multiple_of(2))?;
                self.sparse.parts = numbers.chunks(2).map(|pair| (pair[0], pair[1])).collect();
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        (self.sparse.parts.len() <= PARTS).then_some(())
    }
}

impl SparseRecords {
    fn add(&mut self, length: u64) -> Option<()> {
        self.parts.push((self.offset.take()?, length));
        Some(())
    }
}

/// Splits the first record, without its length and its line break, from the rest.
fn first(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    if length <= space + 1 || length > data.len() || data[length - 1] != b'\n' {
        return None;
    }
    Some((&data[space + 1..length - 1], &data[length..]))
}

/// Reads a plain decimal number.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}

/// Reads `-1.5` as seconds and nanoseconds after them.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let is_negative = text.starts_with(b"-");
    let text = if is_negative { &text[1..] } else { text };
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let mut digits = [b'0'; 9];
    for (digit, given) in digits.iter_mut().zip(fraction) {
        *digit = *given;
    }
    let nanoseconds = u32::try_from(decimal(&digits)?).ok()?;
    Some(match (is_negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let rest = key.len() + value.len() + 3;
        let length = (1..).find(|digits| (rest + digits).to_string().len() == *digits).unwrap() + rest;
        [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
    }

    #[test]
    fn values_may_have_any_byte() {
        let data =
            [record("SCHILY.xattr.security.capability", b"\n=\0\n1"), record("path", b"a\nb")].concat();
        let pax = Pax::read(&data).unwrap();
        assert_eq!(pax.attributes, [(b"security.capability".to_vec(), b"\n=\0\n1".to_vec())]);
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb"[..]));
    }

    #[test]
    fn empty_value_takes_back() {
        let data = [record("size", b"7"), record("size", b""), record("path", b"")].concat();
        assert_eq!(Pax::read(&data).unwrap(), Pax::default());
    }

    #[test]
    fn times_have_fractions_and_may_be_before_the_epoch() {
        for (text, wanted) in [
            ("1.5", (1, 500_000_000)),
            ("12", (12, 0)),
            ("-1.25", (-2, 750_000_000)),
            ("-3", (-3, 0)),
            ("1.1234567899", (1, 123_456_789)),
        ] {
            assert_eq!(time(text.as_bytes()), Some(wanted), "{text}");
        }
        for none in ["", "-", "x", "1.x", "99999999999999999999"] {
            assert_eq!(time(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn malformed_records_are_errors() {
        let cases: [&[u8]; 9] = [
            b"x",
            b"5 a=b",
            b"99 a=b\n",
            b"0 a=b\n",
            b"5 ab\n\n",
            b"7 a=bcd",
            b"6 a=b\nx",
            b"-6 a=b\n",
            b"11 size=-1\n",
        ];
        for data in cases {
            assert!(Pax::read(data).is_err(), "{}", data.escape_ascii());
        }
    }
}
