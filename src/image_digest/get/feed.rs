//! What downloads and the thread that unpacks tell each other: how much of each layer is on disk,
//! and that it is over. A layer is read while it is still coming, and counts only once it is whole.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the end of the thread that unpacks is waited for: it looks up at every chunk.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of all layers.
pub(super) struct Feed {
    state: Mutex<State>,
    changed: Condvar,
    /// Set when nobody wants the result any more.
    pub(super) stop: Arc<AtomicBool>,
}

struct State {
    layers: Vec<Layer>,
    is_unpacking: bool,
}

#[derive(Clone, Copy, Default)]
struct Layer {
    count: u64,
    is_whole: bool,
}

impl Feed {
    pub(super) fn new(layers: usize) -> Arc<Self> {
        let state = State { layers: vec![Layer::default(); layers], is_unpacking: false };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), stop: Arc::default() })
    }

    /// Tells that `count` bytes of a layer are on disk.
    pub(super) fn advance(&self, layer: usize, count: u64) {
        self.lock().layers[layer].count = count;
        self.changed.notify_all();
    }

    /// Tells that a layer is on disk and is what it should be.
    pub(super) fn complete(&self, layer: usize) {
        self.lock().layers[layer].is_whole = true;
        self.changed.notify_all();
    }

    /// Waits until a layer is whole; false when that is not to be.
    pub(super) fn wait_for(&self, layer: usize) -> bool {
        self.wait(layer, u64::MAX).is_some()
    }

    /// Tells that the thread that unpacks has begun; false when it need not.
    pub(super) fn begin(&self) -> bool {
        let mut state = self.lock();
        state.is_unpacking = !self.stop.load(Ordering::Relaxed);
        state.is_unpacking
    }

    /// Tells that the thread that unpacks touches nothing any more.
    pub(super) fn end(&self) {
        self.lock().is_unpacking = false;
        self.changed.notify_all();
    }

    /// Ends it all, and returns when the thread that unpacks has seen it.
    pub(super) fn halt(&self) {
        let state = self.lock();
        self.stop.store(true, Ordering::Relaxed);
        self.changed.notify_all();
        drop(self.changed.wait_timeout_while(state, PATIENCE, |state| state.is_unpacking));
    }

    /// Waits until more than `known` bytes of a layer are there, or it is whole; `None` when it is over.
    fn wait(&self, layer: usize, known: u64) -> Option<Layer> {
        let is_idle = |state: &mut State| {
            let layer = state.layers[layer];
            layer.count <= known && !layer.is_whole && !self.stop.load(Ordering::Relaxed)
        };
        let state = self.changed.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let found = state.layers[layer];
        (found.is_whole || !self.stop.load(Ordering::Relaxed)).then_some(found)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a feed when whoever holds it is dropped, also by a signal.
pub(super) struct Halt(pub(super) Arc<Feed>);

impl Drop for Halt {
    fn drop(&mut self) {
        self.0.halt();
    }
}

/// A layer as it comes in.
pub(super) struct Reader {
    pub(super) feed: Arc<Feed>,
    pub(super) layer: usize,
    pub(super) file: File,
    pub(super) position: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(layer) = self.feed.wait(self.layer, self.position) else {
            return Err(io::Error::other("the download ended"));
        };
        let there = usize::try_from(layer.count - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..there], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_is_read_while_it_comes_and_ends_when_it_is_whole() {
        let file = tempfile::tempfile().unwrap();
        let feed = Feed::new(1);
        let mut reader =
            Reader { feed: feed.clone(), layer: 0, file: file.try_clone().unwrap(), position: 0 };
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        file.write_all_at(b"first ", 0).unwrap();
        feed.advance(0, 6);
        file.write_all_at(b"second", 6).unwrap();
        feed.advance(0, 12);
        feed.complete(0);
        assert_eq!(reading.join().unwrap().unwrap(), "first second");
    }

    #[test]
    fn reader_of_a_download_that_ended_does_not_wait_for_ever() {
        let feed = Feed::new(2);
        let file = tempfile::tempfile().unwrap();
        let mut reader = Reader { feed: feed.clone(), layer: 1, file, position: 0 };
        let reading = std::thread::spawn(move || reader.read(&mut [0; 8]).is_err());
        drop(Halt(feed.clone()));
        assert!(reading.join().unwrap());
        assert!(!feed.begin());
    }
}
