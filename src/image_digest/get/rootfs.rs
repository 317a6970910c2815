//! `rootfs`: layers come down several at a time and go up one after the other, each while it is
//! still coming.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::super::Error;
use super::download::{PARALLEL, Slot, amount, arrived};
use super::feed::{Feed, Halt, Reader};
use super::stage::{Stage, written};
use crate::image::Descriptor;
use crate::log::Log;
use crate::registry::Client;
use crate::unpack::{self, Limits, Owners, Unpacker};

/// Layers that may be on disk and not unpacked: a slow disk must not hold the image twice.
const AHEAD: usize = 8;

/// Downloads the layers and unpacks them into `rootfs` of the stage.
pub(super) async fn fetch(
    client: &Client,
    layers: &[Descriptor],
    stage: &Stage,
    log: &Log,
) -> Result<(), Error> {
    let spool = stage.folder(".layers")?;
    let feed = Feed::new(layers.len());
    let room = Arc::new(Semaphore::new(AHEAD));
    let mut files = Vec::new();
    for at in 0..layers.len() {
        let path = spool.join(at.to_string());
        File::create(&path).map_err(written(&path))?;
        files.push(path);
    }
    let unpacking = Unpacking {
        feed: feed.clone(),
        room: room.clone(),
        layers: layers.to_vec(),
        files: files.clone(),
        root: stage.path("rootfs"),
        log: log.clone(),
    };
    let _halt = Halt(feed.clone());
    let unpacking = tokio::task::spawn_blocking(move || unpacking.run());
    let downloads = stream::iter(layers.iter().zip(&files).enumerate())
        .map(async |(at, (layer, path))| {
            // The semaphore is never closed.
            if let Ok(permit) = room.acquire().await {
                permit.forget();
            }
            let file = File::options().write(true).open(path).map_err(written(path))?;
            let mut slot = Slot { file, start: 0, count: 0, reader: Some((feed.clone(), at)) };
            client.download(&layer.digest, layer.size, &mut slot).await?;
            feed.complete(at);
            Ok(())
        })
        // More would only wait for their turns, at the cost of the patience with each.
        .buffer_unordered(PARALLEL.min(client.parallel()))
        .try_collect::<()>();
    let unpacked = async {
        match unpacking.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    };
    tokio::try_join!(downloads, unpacked).map(drop)
}

/// The work of the thread that unpacks.
struct Unpacking {
    feed: Arc<Feed>,
    room: Arc<Semaphore>,
    layers: Vec<Descriptor>,
    files: Vec<PathBuf>,
    root: PathBuf,
    log: Log,
}

impl Unpacking {
    fn run(self) -> Result<(), Error> {
        if !self.feed.begin() {
            return Ok(());
        }
        let result = self.unpack();
        self.feed.end();
        result
    }

    fn unpack(&self) -> Result<(), Error> {
        let owners = Owners::here();
        let unpacker = Unpacker::new(&self.root, owners, Limits::default(), self.feed.stop.clone());
        let mut unpacker = unpacker.map_err(Error::Unpack)?;
        for (at, layer) in self.layers.iter().enumerate() {
            let began = Instant::now();
            let failed = |source| Error::Layer { digest: layer.digest.clone(), source };
            let path = &self.files[at];
            let file = File::open(path).map_err(written(path))?;
            let reader = Reader { feed: self.feed.clone(), layer: at, file, position: 0 };
            let unpacked = unpacker.layer(reader, layer.size);
            // What was read before it was known to be right may have been wrong: then the download
            // says so itself, and better.
            if !self.feed.wait_for(at) {
                return Err(failed(unpack::Error::Stopped));
            }
            let tally = unpacked.map_err(failed)?;
            fs::remove_file(path).map_err(written(path))?;
            self.room.add_permits(1);
            let line = arrived((at + 1, self.layers.len()), &layer.digest, layer.size, began.elapsed());
            let mut details = format!("{} files, {}", tally.entries, amount(tally.bytes));
            if tally.attributes > 0 {
                details += &format!(", {} attributes not kept", tally.attributes);
            }
            self.log.line(format_args!("{line} ({details})"));
        }
        unpacker.finish().map_err(Error::Unpack)
    }
}
