//! How a layer is compressed, told by its first bytes: media types lie, magic numbers do not.

use std::io::{self, BufReader, Cursor, Read};

/// How much compressed data is read at once.
const CHUNK: usize = 128 << 10;

/// Returns the layer's plain bytes: gzip, zstd, or as they are.
pub(super) fn decoded<'a>(mut layer: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::with_capacity(4);
    layer.by_ref().take(4).read_to_end(&mut magic)?;
    let kind = Kind::of(&magic);
    let layer = BufReader::with_capacity(CHUNK, Cursor::new(magic).chain(layer));
    Ok(match kind {
        Kind::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(layer)),
        Kind::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(layer)?),
        Kind::Plain => Box::new(layer),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Gzip,
    Zstd,
    Plain,
}

impl Kind {
    fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one of the frames that readers skip.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_compression() {
        assert_eq!(Kind::of(&[0x1f, 0x8b, 8, 0]), Kind::Gzip);
        assert_eq!(Kind::of(&[0x28, 0xb5, 0x2f, 0xfd]), Kind::Zstd);
        assert_eq!(Kind::of(&[0x5e, 0x2a, 0x4d, 0x18]), Kind::Zstd);
        for plain in [&b"./\0\0"[..], b"", b"\x1f", &[0x28, 0xb5, 0x2f]] {
            assert_eq!(Kind::of(plain), Kind::Plain);
        }
    }
}
