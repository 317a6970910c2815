//! Blobs into files: several at a time, each at its place.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};

use super::super::Error;
use super::feed::Feed;
use super::stage::written;
use crate::image::{Descriptor, Digest};
use crate::log::Log;
use crate::registry::{Client, Sink};

/// Layers that are downloaded at the same time.
pub(super) const PARALLEL: usize = 4;

/// Part of a file, as downloaded bytes fill it.
pub(super) struct Slot {
    pub(super) file: File,
    pub(super) start: u64,
    pub(super) count: u64,
    /// Who reads it meanwhile.
    pub(super) reader: Option<(Arc<Feed>, usize)>,
}

impl Sink for Slot {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.start + self.count)?;
        self.count += bytes.len() as u64;
        if let Some((feed, layer)) = &self.reader {
            feed.advance(*layer, self.count);
        }
        Ok(())
    }
}

/// A blob and where it goes.
pub(super) struct Order<'a> {
    pub(super) blob: &'a Descriptor,
    pub(super) path: PathBuf,
    /// Where in the file it begins.
    pub(super) start: u64,
}

/// Downloads all of them, with a line for each; on the first failure the others are given up.
pub(super) async fn all(client: &Client, orders: &[Order<'_>], log: &Log) -> Result<(), Error> {
    let count = orders.len();
    stream::iter(orders.iter().enumerate())
        .map(async |(at, order)| {
            let began = Instant::now();
            let file = File::options().write(true).create(true).truncate(false).open(&order.path);
            let file = file.map_err(written(&order.path))?;
            let mut slot = Slot { file, start: order.start, count: 0, reader: None };
            client.download(&order.blob.digest, order.blob.size, &mut slot).await?;
            log.line(arrived((at + 1, count), &order.blob.digest, order.blob.size, began.elapsed()));
            Ok(())
        })
        // More would only wait for their turns, at the cost of the patience with each.
        .buffer_unordered(PARALLEL.min(client.parallel()))
        .try_collect()
        .await
}

/// Returns the line about a layer that is there.
pub(super) fn arrived((at, of): (usize, usize), digest: &Digest, size: u64, took: Duration) -> String {
    format!("layer {at}/{of} {}: {} in {:.1} s", digest.short(), amount(size), took.as_secs_f64())
}

/// Returns an amount of bytes as people write it.
#[expect(clippy::cast_precision_loss, reason = "it is shown with one digit after the point")]
pub(super) fn amount(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        let shown = [0, 999, 1_500, 52_400_000, 3_000_000_000].map(amount);
        assert_eq!(shown, ["0 B", "999 B", "1.5 kB", "52.4 MB", "3.0 GB"]);
    }
}
