//! A line between a client and a registry that breaks where a test says: anywhere in the raw bytes of
//! an answer, in its status line too. It can also lose or delay what begins like TLS.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::registry::Registry;

/// A running line; its threads end with the connections.
pub(crate) struct Line {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What becomes of connections that begin with a TLS handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// They go through, as all others do.
    Through,
    /// They are taken and never answered, as behind a firewall.
    Lost,
    /// They go through this much later, and all others are closed.
    Late(Duration),
}

struct Shared {
    target: String,
    tls: Tls,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Which request, and after how many bytes of its answer.
    cut: Option<(String, usize)>,
    /// The first line of each request, and the raw bytes of its answer.
    answers: Vec<(String, Vec<u8>)>,
    /// How many connections began with a TLS handshake, and how many did not.
    opened: (usize, usize),
}

impl Line {
    /// Opens a line to a registry.
    pub(crate) fn to(registry: &Registry, tls: Tls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { target: registry.host(), tls, state: Mutex::default() });
        let theirs = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = theirs.clone();
                // What breaks on the line is what the test is about.
                std::thread::spawn(move || serve(&client, &shared).ok());
            }
        });
        Self { address, shared }
    }

    /// Returns host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Breaks the line in the answer to the next request that starts with `start`.
    pub(crate) fn cut(&self, start: &str, after: usize) {
        self.shared.state().cut = Some((start.to_owned(), after));
    }

    /// Returns the raw bytes of the last answer to a request that starts with `start`.
    pub(crate) fn answer(&self, start: &str) -> Vec<u8> {
        let state = self.shared.state();
        let mut answers = state.answers.iter().rev();
        answers.find(|(line, _)| line.starts_with(start)).map(|(_, bytes)| bytes.clone()).unwrap()
    }

    /// Returns how many connections began with a TLS handshake, and how many did not.
    pub(crate) fn opened(&self) -> (usize, usize) {
        self.shared.state().opened
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request and returns after how many bytes its answer breaks.
    fn begin(&self, request: &[u8]) -> Option<usize> {
        let mut state = self.state();
        let line = String::from_utf8_lossy(request).lines().next().unwrap_or_default().to_owned();
        let cut = state.cut.take_if(|(start, _)| line.starts_with(start.as_str()));
        state.answers.push((line, Vec::new()));
        cut.map(|(_, after)| after)
    }
}

fn serve(client: &TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut first = [0];
    client.peek(&mut first)?;
    let is_tls = first[0] == 0x16;
    {
        let opened = &mut shared.state().opened;
        *(if is_tls { &mut opened.0 } else { &mut opened.1 }) += 1;
    }
    match shared.tls {
        Tls::Lost if is_tls => return (&*client).read_to_end(&mut Vec::new()).map(drop),
        Tls::Late(delay) if is_tls => std::thread::sleep(delay),
        Tls::Late(_) => return client.shutdown(Shutdown::Both),
        Tls::Lost | Tls::Through => {}
    }
    let server = TcpStream::connect(&shared.target)?;
    let left = Arc::new(Mutex::new(None));
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let (theirs, cut) = (shared.clone(), left.clone());
    std::thread::spawn(move || ask(&from, &to, &theirs, &cut).ok());
    answer(&server, client, shared, &left)
}

/// Hands on what the client says. Its requests are small and come one by one.
fn ask(
    from: &TcpStream,
    to: &TcpStream,
    shared: &Shared,
    left: &Mutex<Option<usize>>,
) -> std::io::Result<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        let count = (&*from).read(&mut buffer)?;
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        if buffer.starts_with(b"GET ") || buffer.starts_with(b"HEAD ") {
            *left.lock().unwrap_or_else(PoisonError::into_inner) = shared.begin(&buffer[..count]);
        }
        (&*to).write_all(&buffer[..count])?;
    }
}

/// Hands on what the registry says, until the line breaks.
fn answer(
    from: &TcpStream,
    to: &TcpStream,
    shared: &Shared,
    left: &Mutex<Option<usize>>,
) -> std::io::Result<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        let count = (&*from).read(&mut buffer)?;
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        if let Some((_, bytes)) = shared.state().answers.last_mut() {
            bytes.extend_from_slice(&buffer[..count]);
        }
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = left.map_or(count, |left| left.min(count));
        (&*to).write_all(&buffer[..passed])?;
        if let Some(left) = left.as_mut() {
            *left -= passed;
            if *left == 0 {
                from.shutdown(Shutdown::Both)?;
                return to.shutdown(Shutdown::Both);
            }
        }
    }
}
