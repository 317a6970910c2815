//! What a put sends: manifests, and blobs that can be read as often as an upload needs it.

use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use futures::stream::{self, BoxStream, StreamExt};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::files::Extent;
use super::graph::Node;
use crate::image::Digest;
use crate::registry::{self, Client, Sink, Supply, SupplyError, named};

/// How much of a file is read at once, and how many such pieces wait to be sent.
const PIECE: usize = 256 << 10;
const WAITING: usize = 2;

/// An image or an index with all that belongs to it.
pub(super) struct Content {
    /// The manifests, each after all that it names: the last one is what gets the tags.
    pub(super) manifests: Vec<Node>,
    /// The blobs.
    pub(super) blobs: Vec<Blob>,
}

/// A blob.
#[derive(Clone)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) origin: Origin,
}

/// Where the bytes of a blob are.
#[derive(Clone)]
pub(super) enum Origin {
    /// In memory.
    Memory(Arc<[u8]>),
    /// On disk, as they are.
    Disk(Extent),
    /// On disk, to be compressed.
    Uncompressed(Extent),
    /// In another registry.
    Registry(Arc<Client>),
}

impl Supply for Blob {
    fn digest(&self) -> &Digest {
        &self.digest
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self) -> BoxStream<'static, Result<Vec<u8>, SupplyError>> {
        match &self.origin {
            Origin::Memory(bytes) => {
                let bytes = bytes.to_vec();
                stream::once(async { Ok(bytes) }).boxed()
            }
            Origin::Disk(extent) => {
                let extent = extent.clone();
                produced(move |sink| copied(&mut extent.reader(), sink).map(drop))
            }
            Origin::Uncompressed(extent) => {
                let extent = extent.clone();
                produced(move |sink| compressed(&mut extent.reader(), sink).map(drop))
            }
            Origin::Registry(client) => fetched(client.clone(), self.digest.clone(), self.size),
        }
    }
}

/// Fetches a blob on a thread of its own, which may wait for the upload: the requests of both go on
/// meanwhile.
fn fetched(
    client: Arc<Client>,
    digest: Digest,
    size: u64,
) -> BoxStream<'static, Result<Vec<u8>, SupplyError>> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(WAITING);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces(sender.clone());
        if let Err(error) = runtime.block_on(client.download(&digest, size, &mut pieces)) {
            let _ = sender.send(Err(error));
        }
    });
    produced(move |sink| {
        receiver.iter().try_for_each(|piece| match piece {
            Ok(bytes) => sink.write_all(&bytes),
            Err(error) => Err(io::Error::other(error)),
        })
    })
}

/// Takes what is downloaded and waits while it is not wanted.
struct Pieces(std::sync::mpsc::SyncSender<Result<Vec<u8>, registry::Error>>);

impl Sink for Pieces {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.send(Ok(bytes.to_vec())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Runs `produce` on a thread of its own and returns what it writes. It goes only a few pieces ahead
/// of who reads, and ends when nobody does.
fn produced(
    produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> BoxStream<'static, Result<Vec<u8>, SupplyError>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut sink = BufWriter::with_capacity(PIECE, Sender(sender.clone()));
        let result = produce(&mut sink).and_then(|()| sink.flush());
        if let Err(error) = result {
            let _ = sender.blocking_send(Err(SupplyError::from(error)));
        }
    });
    stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|piece| (piece, receiver)))
        .boxed()
}

struct Sender(mpsc::Sender<Result<Vec<u8>, SupplyError>>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(bytes.to_vec()));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn copied(from: &mut impl Read, to: &mut (impl Write + ?Sized)) -> io::Result<u64> {
    let mut buffer = vec![0; PIECE];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(copied),
            read => {
                to.write_all(&buffer[..read])?;
                copied += read as u64;
            }
        }
    }
}

/// Compresses a layer, always to the same bytes: nothing of the time and the machine goes in.
/// registry-image compresses for speed too.
fn compressed<W: Write + ?Sized>(layer: &mut impl Read, to: &mut W) -> io::Result<Digest> {
    let mut layer = Hashed { inner: layer, hash: Sha256::new(), length: 0 };
    let mut encoder: GzEncoder<&mut W> =
        GzBuilder::new().mtime(0).operating_system(255).write(to, Compression::fast());
    copied(&mut layer, &mut encoder)?;
    encoder.finish()?;
    Ok(named(layer.hash))
}

/// A layer that was looked at.
pub(super) struct Layer {
    /// The digest of what is in it, uncompressed.
    pub(super) diff: Digest,
    /// What is pushed.
    pub(super) blob: Blob,
}

/// Reads a compressed layer, which is pushed as it is.
pub(super) fn as_it_is(extent: Extent) -> io::Result<Blob> {
    let mut reader = Hashed { inner: extent.reader(), hash: Sha256::new(), length: 0 };
    copied(&mut reader, &mut io::sink())?;
    Ok(Blob { digest: named(reader.hash), size: reader.length, origin: Origin::Disk(extent) })
}

/// Compresses an uncompressed layer to learn its name. It is compressed again when it is sent: most
/// layers are in the registry already, and those that are not take no disk.
pub(super) fn to_compress(extent: Extent) -> io::Result<Layer> {
    let mut sink = Hashed { inner: io::sink(), hash: Sha256::new(), length: 0 };
    let diff = compressed(&mut extent.reader(), &mut sink)?;
    let blob = Blob { digest: named(sink.hash), size: sink.length, origin: Origin::Uncompressed(extent) };
    Ok(Layer { diff, blob })
}

/// Hashes and counts what passes through.
struct Hashed<T> {
    inner: T,
    hash: Sha256,
    length: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.length += read as u64;
        Ok(read)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Returns a small blob.
pub(super) fn in_memory(bytes: Vec<u8>) -> Blob {
    let digest = registry::digest_of(&bytes);
    Blob { digest, size: bytes.len() as u64, origin: Origin::Memory(bytes.into()) }
}
