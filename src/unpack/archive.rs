//! A tar archive as a stream of entries: ustar, GNU's long names and sparse files, pax. Nothing but
//! the header of one entry is in memory, and each header has its limit.

use std::io::Read;

use super::Error;
use super::limits::{Metered, read_error};
use super::pax::Pax;
use super::sparse::{self, Sparse};

/// The unit of the format.
const BLOCK: usize = 512;

/// A long name or a set of pax records beyond this is no honest one.
const EXTENSION: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    SymbolicLink,
    Directory,
    Fifo,
    /// A character or block device: it cannot be made in a user namespace.
    Device,
    /// A note of the archiver to itself.
    Ignored,
    /// Something else.
    Unknown(u8),
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    /// How many bytes of data follow.
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) user: u64,
    pub(super) group: u64,
    /// Seconds and nanoseconds of the last change.
    pub(super) time: (i64, u32),
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<Sparse>,
}

/// An archive that is being read.
pub(super) struct Archive<R> {
    reader: Metered<R>,
    /// What is left of the current entry's data, and of the block that it ends in.
    left: u64,
    padding: u64,
}

/// What the headers before an entry's own say about it.
#[derive(Default)]
struct Ahead {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Pax,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(reader: Metered<R>) -> Self {
        Self { reader, left: 0, padding: 0 }
    }

    /// Returns how many bytes of the archive were read.
    pub(super) fn count(&self) -> u64 {
        self.reader.count()
    }

    /// Returns the next entry; what was not read of the last one's data is skipped.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Error> {
        self.skip()?;
        let mut ahead = Ahead::default();
        let mut is_ahead = false;
        loop {
            let Some(header) = self.header()? else {
                return if is_ahead { Err(Error::Damaged("an entry is missing")) } else { Ok(None) };
            };
            match header.flag() {
                b'x' | b'X' => ahead.pax = Pax::read(&self.extension(&header)?)?,
                // Defaults for all that follows; no layer has ones that matter.
                b'g' => drop(self.extension(&header)?),
                b'L' => ahead.path = Some(terminated(&self.extension(&header)?)),
                b'K' => ahead.link = Some(terminated(&self.extension(&header)?)),
                _ => return self.entry(&header, ahead).map(Some),
            }
            is_ahead = true;
        }
    }

    /// Reads some of the current entry's data; there must be some left.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.reader.read(&mut buffer[..most]).map_err(read_error)?;
        if count == 0 {
            return Err(Error::Damaged("it ends in the middle of a file"));
        }
        self.left -= count as u64;
        Ok(count)
    }

    fn entry(&mut self, header: &Header, ahead: Ahead) -> Result<Entry, Error> {
        let Ahead { path, link, mut pax } = ahead;
        let kind = header.kind();
        let size = pax.size.map_or_else(|| header.size(), Ok)?;
        self.expect(if kind == Kind::File { size } else { 0 });
        let sparse = if header.flag() == b'S' {
            Some(self.gnu_sparse(header)?)
        } else if kind == Kind::File {
            self.pax_sparse(&mut pax)?
        } else {
            None
        };
        if sparse.as_ref().is_some_and(|sparse| !sparse.fits(self.left)) {
            return Err(Error::Damaged("a sparse file contradicts itself"));
        }
        let time = header.time()?;
        Ok(Entry {
            path: pax.sparse.name.take().or(pax.path).or(path).unwrap_or_else(|| header.path()),
            link: pax.link.or(link).unwrap_or_else(|| terminated(header.field(157, 100))),
            kind,
            size: self.left,
            mode: u32::try_from(header.number(100, 8)? & 0o7777).unwrap_or_default(),
            user: pax.user.map_or_else(|| header.count(108, 8), Ok)?,
            group: pax.group.map_or_else(|| header.count(116, 8), Ok)?,
            time: pax.time.unwrap_or((time, 0)),
            attributes: pax.attributes,
            sparse,
        })
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64).saturating_sub(size);
    }

    /// GNU's own sparse format: the map is in the header and in blocks after it.
    fn gnu_sparse(&mut self, header: &Header) -> Result<Sparse, Error> {
        let mut parts = Vec::new();
        sparse::fields(&header.0[386..482], &mut parts)?;
        let mut goes_on = header.0[482] != 0;
        while goes_on {
            let block = self.block()?.ok_or(Error::Damaged("it ends in the middle of a header"))?;
            sparse::fields(&block[..504], &mut parts)?;
            goes_on = block[504] != 0;
        }
        Ok(Sparse { parts, real: header.count(483, 12)? })
    }

    /// The three ways in which pax headers describe a sparse file.
    fn pax_sparse(&mut self, pax: &mut Pax) -> Result<Option<Sparse>, Error> {
        let Some(real) = pax.sparse.real else { return Ok(None) };
        if pax.sparse.major != 1 {
            return Ok(Some(Sparse { parts: std::mem::take(&mut pax.sparse.parts), real }));
        }
        // Version 1 has the map in front of the data, in whole blocks.
        let mut map = sparse::Text::default();
        while !map.is_whole()? {
            let mut block = [0; BLOCK];
            let mut filled = 0;
            while filled < BLOCK {
                if self.left == 0 {
                    return Err(Error::Damaged("a sparse file has no map"));
                }
                filled += self.read(&mut block[filled..])?;
            }
            map.push(&block);
        }
        Ok(Some(Sparse { parts: map.parts()?, real }))
    }

    /// Reads the data of a header that is about the entry after it.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let size = header.size()?;
        if size > EXTENSION {
            return Err(Error::Damaged("a header is longer than 1 MiB"));
        }
        self.expect(size);
        let mut data = vec![0; usize::try_from(size).unwrap_or_default()];
        let mut filled = 0;
        while filled < data.len() {
            filled += self.read(&mut data[filled..])?;
        }
        self.skip()?;
        Ok(data)
    }

    fn skip(&mut self) -> Result<(), Error> {
        self.left = self.left.checked_add(self.padding).ok_or(Error::Damaged("a size is out of range"))?;
        self.padding = 0;
        let mut scratch = [0; 16 * BLOCK];
        while self.left > 0 {
            self.read(&mut scratch)?;
        }
        Ok(())
    }

    /// Returns the next header; `None` where the archive ends.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        let is_first = self.reader.count() == 0;
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header(block);
        match header.is_whole() {
            true => Ok(Some(header)),
            false if is_first => Err(Error::NotTar),
            false => Err(Error::Damaged("the checksum of a header is wrong")),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let is_first = self.reader.count() == 0;
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..]).map_err(read_error)? {
                0 if filled == 0 => return Ok(None),
                0 if is_first => return Err(Error::NotTar),
                0 => return Err(Error::Damaged("it ends in the middle of a header")),
                count => filled += count,
            }
        }
        Ok(Some(block))
    }
}

/// The header of an entry, as it is in the archive.
struct Header([u8; BLOCK]);

impl Header {
    fn field(&self, start: usize, length: usize) -> &[u8] {
        &self.0[start..start + length]
    }

    fn flag(&self) -> u8 {
        self.0[156]
    }

    fn is_ustar(&self) -> bool {
        self.field(257, 6) == b"ustar\0"
    }

    /// Old archivers added up signed bytes.
    fn is_whole(&self) -> bool {
        let Ok(wanted) = self.number(148, 8) else { return false };
        let bytes = || {
            self.0.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte })
        };
        let unsigned: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        wanted == unsigned || wanted == signed
    }

    fn kind(&self) -> Kind {
        match self.flag() {
            // Before ustar, a directory was a file whose name ends with a slash.
            0 if self.path().ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'V' => Kind::Ignored,
            other => Kind::Unknown(other),
        }
    }

    fn path(&self) -> Vec<u8> {
        let name = terminated(self.field(0, 100));
        let prefix = if self.is_ustar() { terminated(self.field(345, 155)) } else { Vec::new() };
        if prefix.is_empty() { name } else { [&prefix, &b"/"[..], &name].concat() }
    }

    fn size(&self) -> Result<u64, Error> {
        self.count(124, 12)
    }

    fn time(&self) -> Result<i64, Error> {
        self.number(136, 12)
    }

    fn count(&self, start: usize, length: usize) -> Result<u64, Error> {
        u64::try_from(self.number(start, length)?)
            .map_err(|_| Error::Damaged("a number in a header is negative"))
    }

    fn number(&self, start: usize, length: usize) -> Result<i64, Error> {
        sparse::number(self.field(start, length)).ok_or(Error::Damaged("a number in a header is none"))
    }
}

/// Returns the text up to its first NUL.
fn terminated(field: &[u8]) -> Vec<u8> {
    field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}
