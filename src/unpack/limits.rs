//! How much a layer may unpack to, held while it is read.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Error;

/// What is refused as a bomb.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A layer may unpack to this many times its size, on top of `allowance`. Gzip reaches 1032 to 1
    /// on zeros and 2 to 5 on programs.
    pub ratio: u64,
    /// What any layer may unpack to.
    pub allowance: u64,
    /// What all layers together may unpack to.
    pub bytes: u64,
    /// How many entries all layers together may have.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ratio: 100, allowance: 1 << 30, bytes: 256 << 30, entries: 10_000_000 }
    }
}

impl Limits {
    /// Returns what a layer of `size` compressed bytes may unpack to.
    pub(super) fn of_layer(&self, size: u64) -> u64 {
        size.saturating_mul(self.ratio).saturating_add(self.allowance)
    }
}

/// A reader that ends with an error at its limit, and when it is told to stop.
pub(super) struct Metered<R> {
    inner: R,
    count: u64,
    limit: u64,
    stop: Arc<AtomicBool>,
}

impl<R: Read> Metered<R> {
    pub(super) fn new(inner: R, limit: u64, stop: Arc<AtomicBool>) -> Self {
        Self { inner, count: 0, limit, stop }
    }

    /// Returns how many bytes were read.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other(Halt::Stopped));
        }
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        if self.count > self.limit { Err(io::Error::other(Halt::Limit(self.limit))) } else { Ok(count) }
    }
}

/// Why a reader ended that could have gone on.
#[derive(Debug)]
enum Halt {
    Limit(u64),
    Stopped,
}

impl std::error::Error for Halt {}

impl fmt::Display for Halt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("halted")
    }
}

/// Tells a halt from a failure of the reader below.
pub(super) fn read_error(error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(Halt::Limit(limit)) => Error::TooBig { limit: *limit },
        Some(Halt::Stopped) => Error::Stopped,
        None => Error::Read(error),
    }
}
