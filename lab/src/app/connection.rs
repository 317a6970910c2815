//! One connection: reads requests, writes answers, and decides when to say goodbye.
//! HTTP/1.1 by hand, because when a connection closes is what this application is for.

use std::io;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{Answer, HTML};
use super::life::{Life, Phase};

/// A request's head that is longer is refused.
const LONGEST_HEAD: usize = 16 * 1024;

/// A body that is longer is refused.
const LONGEST_BODY: usize = 1024 * 1024;

/// How long a connection may be idle, as the answers' `Keep-Alive` promises.
const IDLE: Duration = Duration::from_secs(60);

/// How long a client may take to read what is sent, so that a stuck one cannot hold the application.
const WRITE: Duration = Duration::from_secs(30);

/// Serves a connection in a task of its own.
pub(super) fn spawn(stream: TcpStream, life: Life) {
    let open = life.open();
    tokio::spawn(async move {
        // A peer that goes away in the middle is its own business.
        let _ = Connection { stream, life, buffer: Vec::new() }.serve().await;
        drop(open);
    });
}

struct Connection {
    stream: TcpStream,
    life: Life,
    buffer: Vec<u8>,
}

/// What matters of a request's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    is_head: bool,
    target: String,
    keeps_alive: bool,
    body: usize,
    length: usize,
}

impl Connection {
    async fn serve(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        while let Some(head) = self.read().await? {
            let answer = match Answer::to(&head.target, &self.life.identity, self.life.phase()) {
                Answer::Whole { content_type: HTML, .. } if self.life.fails => Answer::broken(),
                answer => answer,
            };
            if let Answer::Late { delay, .. } = &answer {
                sleep(*delay).await;
            }
            // Looked at after a slow answer, so that one that outlives SIGTERM says goodbye too.
            let closes = !head.keeps_alive || self.life.phase() >= Phase::Draining;
            match answer {
                Answer::Whole { status, content_type, body } => {
                    self.whole(&head, closes, (status, content_type, &body)).await?;
                }
                Answer::Late { body, .. } => self.whole(&head, closes, (200, "text/plain", &body)).await?,
                Answer::Lines { length, leave_early } => {
                    self.lines(length, leave_early).await?;
                    break;
                }
            }
            if closes {
                break;
            }
        }
        self.goodbye().await
    }

    /// Reads one request, or nothing when the connection is to end.
    async fn read(&mut self) -> io::Result<Option<Head>> {
        let mut phases = self.life.watch();
        let deadline = Instant::now() + IDLE;
        loop {
            match Head::parse(&self.buffer) {
                Ok(Some(head)) if self.buffer.len() >= head.length + head.body => {
                    self.buffer.drain(..head.length + head.body);
                    return Ok(Some(head));
                }
                Ok(Some(head)) if head.body <= LONGEST_BODY => {}
                Ok(None) if self.buffer.len() <= LONGEST_HEAD => {}
                Ok(_) | Err(()) => {
                    self.stream
                        .write_all(
                            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                        )
                        .await?;
                    return Ok(None);
                }
            }
            let mut chunk = [0; 4096];
            let idle = self.buffer.is_empty();
            let read = tokio::select! {
                biased;
                read = self.stream.read(&mut chunk) => read?,
                _ = phases.wait_for(|phase| idle && *phase >= Phase::Stopping) => return Ok(None),
                () = sleep_until(deadline) => return Ok(None),
            };
            if read == 0 {
                return Ok(None);
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }

    async fn whole(
        &mut self,
        head: &Head,
        closes: bool,
        (status, content_type, body): (u16, &str, &str),
    ) -> io::Result<()> {
        let mut text = self.top(status, content_type, closes);
        // Spring Boot streams this one; the seed's own transcript shows it so.
        if head.target.starts_with("/actuator/metrics") {
            text.push_str("Content-Disposition: inline;filename=f.txt\r\nTransfer-Encoding: chunked\r\n\r\n");
            if !head.is_head {
                text.push_str(&format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
            }
        } else {
            text.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
            if !head.is_head {
                text.push_str(body);
            }
        }
        self.write(&text).await
    }

    /// Streams lines; it always closes its connection, so that nothing depends on what follows.
    async fn lines(&mut self, length: Duration, leave_early: bool) -> io::Result<()> {
        let mut text = self.top(200, "text/plain", true);
        text.push_str("Transfer-Encoding: chunked\r\n\r\n");
        self.write(&text).await?;
        let end = Instant::now() + length;
        let mut number = 0;
        while Instant::now() < end && !(leave_early && self.life.phase() >= Phase::Draining) {
            self.chunk(&format!("line {number}\n")).await?;
            number += 1;
            sleep(Duration::from_millis(200)).await;
        }
        self.chunk(&format!("end {number}\n")).await?;
        self.write("0\r\n\r\n").await
    }

    async fn chunk(&mut self, line: &str) -> io::Result<()> {
        self.write(&format!("{:x}\r\n{line}\r\n", line.len())).await
    }

    async fn write(&mut self, text: &str) -> io::Result<()> {
        tokio::time::timeout(WRITE, self.stream.write_all(text.as_bytes())).await?
    }

    /// Ends our side, and waits a moment for the peer to see it: closing with unread bytes would reset
    /// the connection and take the answer with it.
    async fn goodbye(&mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut rest = [0; 512];
        let drained = async { while self.stream.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
        let _ = tokio::time::timeout(Duration::from_millis(500), drained).await;
        Ok(())
    }

    fn top(&self, status: u16, content_type: &str, closes: bool) -> String {
        let reason = match status {
            200 => "OK",
            404 => "Not Found",
            _ => "Service Unavailable",
        };
        let connection =
            if closes { "Connection: close" } else { "Connection: keep-alive\r\nKeep-Alive: timeout=60" };
        format!(
            "HTTP/1.1 {status} {reason}\r\nDate: {}\r\nContent-Type: {content_type}\r\nX-Pod: {}\r\nX-Java-Version: {}\r\n{connection}\r\n",
            httpdate::fmt_http_date(SystemTime::now()),
            self.life.identity.pod,
            self.life.identity.runtime,
        )
    }
}

impl Head {
    /// Parses a head, if all of it is there.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, ()> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| ())?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(());
        };
        let mut head = Self {
            is_head: method == "HEAD",
            target: target.to_owned(),
            keeps_alive: version == "HTTP/1.1",
            body: 0,
            length: end + 4,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("connection") {
                head.keeps_alive = !value.eq_ignore_ascii_case("close")
                    && (head.keeps_alive || value.eq_ignore_ascii_case("keep-alive"));
            } else if name.eq_ignore_ascii_case("content-length") {
                head.body = value.parse().map_err(|_| ())?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(());
            }
        }
        Ok(Some(head))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_parsed_once_it_is_complete() {
        assert_eq!(Head::parse(b"GET / HTTP/1.1\r\nHost: x\r\n"), Ok(None));
        let head =
            Head::parse(b"POST /slow?ms=1 HTTP/1.1\r\nContent-Length: 3\r\nconnection: Close\r\n\r\nabc")
                .unwrap()
                .unwrap();
        assert_eq!((head.target.as_str(), head.keeps_alive, head.body), ("/slow?ms=1", false, 3));
    }

    #[test]
    fn http_1_0_closes_unless_asked_not_to() {
        assert!(!Head::parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap().keeps_alive);
        assert!(
            Head::parse(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap().unwrap().keeps_alive
        );
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert_eq!(Head::parse(b"hello\r\n\r\n"), Err(()));
        assert_eq!(Head::parse(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(()));
    }
}
