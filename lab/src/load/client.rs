//! An HTTP/1.1 client that retries nothing and hides nothing: one connection, one request after the other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::Loss;

/// An answer that is longer is malformed.
const LONGEST: usize = 4 * 1024 * 1024;

/// Why a request was lost, and on which pod where the connection had told.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) loss: Loss,
    pub(super) pod: Option<String>,
}

/// A complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) keeps_alive: bool,
}

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) from: IpAddr,
    pub(super) address: SocketAddr,
}

/// A connection to the target.
pub(super) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    /// Who answered on this connection.
    pub(super) pod: Option<String>,
}

/// How the body's end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

struct Head {
    status: u16,
    framing: Framing,
    keeps_alive: bool,
    pod: Option<String>,
}

/// Returns the next of a load's addresses. From one address a fast lane comes back to a port while the
/// node and the server still remember its last connection; what then happens to a SYN says nothing
/// about the target.
fn turn(from: Ipv4Addr) -> Ipv4Addr {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    let [first, second, ..] = from.octets();
    let [third, fourth] = [turn / 250 % 250, turn % 250].map(|part| u8::try_from(part + 1).unwrap_or(1));
    Ipv4Addr::new(first, second, third, fourth)
}

impl Connection {
    pub(super) async fn open(Route { from, address }: Route) -> Result<Self, Failure> {
        let opened = async {
            let stream = match from {
                IpAddr::V4(from) => {
                    let socket = TcpSocket::new_v4()?;
                    socket.bind((turn(from), 0).into())?;
                    socket.connect(address).await?
                }
                IpAddr::V6(_) => TcpStream::connect(address).await?,
            };
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        match opened.await {
            Ok(stream) => Ok(Self { stream, address, pod: None }),
            Err(error) => Err(Failure { loss: Loss::from(&error), pod: None }),
        }
    }

    /// Asks for a path and reads the whole answer. Whatever goes wrong on the way is a loss, also on a
    /// connection that was good before: a client cannot know whether the server has acted.
    pub(super) async fn ask(&mut self, path: &str, connection: &str) -> Result<Answer, Failure> {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n", self.address);
        let answer = async {
            self.stream.write_all(request.as_bytes()).await?;
            self.read().await
        };
        let lost = |pod: &Option<String>, loss| Failure { loss, pod: pod.clone() };
        match answer.await {
            Ok(answer) => match Loss::of_status(answer.status) {
                None => Ok(answer),
                Some(loss) => Err(lost(&self.pod, loss)),
            },
            Err(error) => Err(lost(&self.pod, Loss::from(&error))),
        }
    }

    /// Tells whether the server has kept this idle connection open, as far as can be known before asking.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Waits for the server to close first: whoever does keeps the port for a minute, and a load has too few.
    pub(super) async fn closed(mut self) {
        let mut rest = [0; 512];
        while self.stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    }

    async fn read(&mut self) -> io::Result<Answer> {
        let mut buffer = Vec::with_capacity(1024);
        let length = loop {
            if let Some(position) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break position;
            }
            if self.fill(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head = parse(&buffer[..length]).ok_or(io::ErrorKind::InvalidData)?;
        self.pod = head.pod.or(self.pod.take());
        let mut body = buffer.split_off(length + 4);
        loop {
            if let Some(whole) = complete(&body, head.framing)? {
                return Ok(Answer { status: head.status, body: whole, keeps_alive: head.keeps_alive });
            }
            if self.fill(&mut body).await? == 0 {
                if head.framing == Framing::Close {
                    return Ok(Answer { status: head.status, body, keeps_alive: false });
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn fill(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        if buffer.len() > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.stream.read_buf(buffer).await
    }
}

fn parse(head: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut head = Head { status, framing: Framing::Close, keeps_alive: true, pod: None };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.framing = Framing::Length(value.parse().ok()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            head.keeps_alive = !value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("x-pod") {
            head.pod = Some(value.to_owned());
        }
    }
    Some(head)
}

/// Returns the body once all of it is there.
fn complete(bytes: &[u8], framing: Framing) -> io::Result<Option<Vec<u8>>> {
    match framing {
        Framing::Length(length) => Ok((bytes.len() >= length).then(|| bytes[..length].to_vec())),
        Framing::Chunked => dechunked(bytes),
        Framing::Close => Ok(None),
    }
}

fn dechunked(mut bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[..end])
            .ok()
            .and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let size = size.filter(|size| *size <= LONGEST).ok_or(io::ErrorKind::InvalidData)?;
        let Some(chunk) = bytes.get(end + 2..end + 2 + size) else { return Ok(None) };
        let Some(rest) = bytes.get(end + 2 + size + 2..) else { return Ok(None) };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_complete_with_its_last_chunk() {
        let whole = b"5\r\nhello\r\n2\r\n!\n\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(dechunked(&whole[..cut]).unwrap(), None, "cut after {cut}");
        }
        assert_eq!(dechunked(whole).unwrap().unwrap(), b"hello!\n");
    }

    #[test]
    fn a_chunk_of_no_known_size_is_malformed() {
        assert_eq!(dechunked(b"xyz\r\n").unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_head_tells_the_pod_and_whether_the_connection_stays() {
        let head =
            parse(b"HTTP/1.1 200 OK\r\nx-pod: app-1\r\nConnection: close\r\nContent-Length: 3").unwrap();
        assert_eq!((head.status, head.framing, head.keeps_alive), (200, Framing::Length(3), false));
        assert_eq!(head.pod.as_deref(), Some("app-1"));
        assert!(parse(b"SSH-2.0-OpenSSH").is_none());
    }
}
