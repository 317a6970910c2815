//! The phases of the application's life and what is open in it.

use std::sync::Arc;

use tokio::sync::watch;

use super::identity::Identity;

/// Where the application is between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Not ready, and never will be where `NEVER_READY` is set.
    Starting,
    /// Serving.
    Ready,
    /// Serving, but every answer closes its connection and the health is out of service.
    Draining,
    /// The listener is closed or about to be; open requests are finished.
    Stopping,
}

/// What every connection shares.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) identity: Arc<Identity>,
    /// Whether every page is an error.
    pub(super) fails: bool,
    phase: Arc<watch::Sender<Phase>>,
    open: Arc<watch::Sender<usize>>,
}

impl Life {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity: Arc::new(identity),
            fails: false,
            phase: Arc::new(watch::Sender::new(Phase::Starting)),
            open: Arc::new(watch::Sender::new(0)),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(super) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Counts one connection as open until the guard is dropped.
    pub(super) fn open(&self) -> Open {
        self.open.send_modify(|count| *count += 1);
        Open(self.open.clone())
    }

    /// Returns once no connection is open.
    pub(super) async fn idle(&self) {
        // The sender is a field of `self`, so the wait can only end with the count.
        let _ = self.open.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One open connection.
pub(super) struct Open(Arc<watch::Sender<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
