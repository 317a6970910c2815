//! A TCP proxy on loopback that can be cut: what is behind it is then refused, or silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// They go through.
    Up,
    /// They are reset, the open ones too.
    Cut,
    /// Nothing is answered any more, and nothing is closed.
    Silent,
    /// Each request is answered with 401, as a registry does that does not know the client.
    Denied,
}

/// The proxy; it ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    line: watch::Sender<Line>,
    turned_away: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a port of the system's choice, in front of `upstream`.
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = watch::Sender::new(Line::Up);
        let turned_away = Arc::new(AtomicUsize::new(0));
        let (state, count) = (line.subscribe(), turned_away.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, upstream, state.clone(), count.clone()));
            }
        });
        Self { port, line, turned_away, task }
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Returns how many connections were tried in vain.
    pub(crate) fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut client: TcpStream,
    upstream: SocketAddr,
    mut line: watch::Receiver<Line>,
    turned_away: Arc<AtomicUsize>,
) {
    if *line.borrow_and_update() == Line::Up {
        let Ok(mut server) = TcpStream::connect(upstream).await else { return };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
            // The proxy that is dropped cuts nothing; its process ends soon.
            _ = line.wait_for(|line| *line != Line::Up) => {}
        }
    } else {
        turned_away.fetch_add(1, Ordering::Relaxed);
    }
    let now = *line.borrow_and_update();
    match now {
        Line::Silent => drop(line.wait_for(|line| *line != Line::Silent).await),
        Line::Denied => {
            let mut request = [0; 4096];
            let _ = client.read(&mut request).await;
            let _ = client.write_all(DENIED).await;
            let _ = client.shutdown().await;
            return;
        }
        Line::Up | Line::Cut => {}
    }
    let _ = client.set_zero_linger();
}

const DENIED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";
