//! The load against a server that misbehaves in each of the ways a rollout can.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nX-Pod: app-1\r\nContent-Length: 2\r\n\r\nok";

/// Serves every connection with `behave` and returns the address.
async fn server<F, S>(behave: F) -> SocketAddr
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(behave(stream));
        }
    });
    address
}

/// Reads one request's head; true while there is one.
async fn asked(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(read @ 1..) => text.extend_from_slice(&buffer[..read]),
            _ => return false,
        }
    }
    true
}

async fn answer_with(mut stream: TcpStream, bytes: &'static [u8]) {
    if asked(&mut stream).await {
        let _ = stream.write_all(bytes).await;
    }
}

async fn load(address: SocketAddr, lane: Lane, seconds: f64) -> LaneReport {
    let load = Load::start(Target { name: "app".to_owned(), address, lanes: vec![lane] }).unwrap();
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    load.stop().await.lanes.remove(0)
}

async fn fresh(address: SocketAddr) -> LaneReport {
    load(address, Lane::Fresh { rate: 40.0 }, 0.3).await
}

/// Asserts that every request was lost in this one way.
fn assert_all_lost(report: &LaneReport, kind: Loss) {
    assert!(report.requests > 0);
    assert_eq!(report.lost, report.requests);
    assert_eq!(report.kinds.keys().copied().collect::<Vec<_>>(), [kind], "{report:?}");
}

#[tokio::test]
async fn complete_answers_are_not_lost_and_are_counted_by_pod() {
    let report = fresh(server(|stream| answer_with(stream, WHOLE)).await).await;
    assert_eq!(report.lost, 0, "{report:?}");
    assert_eq!(report.pods.get("app-1"), Some(&report.requests));
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_all_lost(&fresh(address).await, Loss::Refused);
}

#[tokio::test]
async fn a_reset_is_a_reset_also_in_the_middle_of_an_answer() {
    let at_once = server(|mut stream| async move {
        asked(&mut stream).await;
        stream.set_zero_linger().unwrap();
    });
    assert_all_lost(&fresh(at_once.await).await, Loss::Reset);
    let in_the_middle = server(|mut stream| async move {
        asked(&mut stream).await;
        stream.write_all(&WHOLE[..WHOLE.len() - 1]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.set_zero_linger().unwrap();
    });
    let report = fresh(in_the_middle.await).await;
    assert_all_lost(&report, Loss::Reset);
    assert_eq!(report.losses[0].pod.as_deref(), Some("app-1"));
}

#[tokio::test]
async fn an_end_before_the_answer_is_complete_is_an_eof() {
    assert_all_lost(&fresh(server(|stream| answer_with(stream, b"")).await).await, Loss::Eof);
    assert_all_lost(
        &fresh(server(|stream| answer_with(stream, &WHOLE[..WHOLE.len() - 1])).await).await,
        Loss::Eof,
    );
}

#[tokio::test]
async fn statuses_are_told_apart() {
    let failing = server(|stream| answer_with(stream, b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")).await;
    assert_all_lost(&fresh(failing).await, Loss::Status5xx);
    let missing = server(|stream| answer_with(stream, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")).await;
    assert_all_lost(&fresh(missing).await, Loss::StatusOther);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_timeout() {
    let address = server(|mut stream| async move {
        asked(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    assert_all_lost(&fresh(address).await, Loss::Timeout);
}

#[tokio::test]
async fn starts_do_not_wait_for_answers() {
    let address = server(|mut stream| async move {
        asked(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let _ = stream.write_all(WHOLE).await;
    });
    let report = load(address.await, Lane::Fresh { rate: 50.0 }, 0.5).await;
    // A closed loop of one client would have asked once in this time.
    assert!(report.requests > 10 && report.lost == 0, "{report:?}");
}

#[tokio::test]
async fn kept_connections_are_used_again_and_a_goodbye_is_honoured() {
    let opened = Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let address = server(move |mut stream| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            for _ in 0..4 {
                asked(&mut stream).await;
                let _ = stream.write_all(WHOLE).await;
            }
            asked(&mut stream).await;
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let report = load(address.await, Lane::KeepAlive { rate: 50.0, connections: 1 }, 1.0).await;
    assert_eq!(report.lost, 0, "{report:?}");
    let opened = opened.load(Ordering::Relaxed) as u64;
    assert!(
        opened > 1 && opened <= report.requests / 2,
        "{opened} connections for {} requests",
        report.requests
    );
}

#[tokio::test]
async fn a_kept_connection_that_fails_before_any_answer_is_lost_and_not_retried() {
    let address = server(|mut stream| async move {
        asked(&mut stream).await;
        let _ = stream.write_all(WHOLE).await;
        // Takes the second request and goes away without a word.
        asked(&mut stream).await;
    });
    let report = load(address.await, Lane::KeepAlive { rate: 20.0, connections: 1 }, 0.5).await;
    assert!(report.lost > 0 && report.lost < report.requests, "{report:?}");
    assert_eq!(report.losses[0].pod.as_deref(), Some("app-1"));
}

#[tokio::test]
async fn a_stream_is_lost_without_its_last_line() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nline 0\n\r\n";
    let cut = server(|stream| answer_with(stream, HEAD)).await;
    assert_all_lost(&load(cut, Lane::Stream { length: Duration::ZERO }, 0.2).await, Loss::Eof);
    let endless = server(|mut stream| async move {
        answer_head_and(&mut stream, HEAD, b"0\r\n\r\n").await;
    });
    assert_all_lost(
        &load(endless.await, Lane::Stream { length: Duration::ZERO }, 0.2).await,
        Loss::Malformed,
    );
    let clean = server(|mut stream| async move {
        answer_head_and(&mut stream, HEAD, b"6\r\nend 1\n\r\n0\r\n\r\n").await;
    });
    let report = load(clean.await, Lane::Stream { length: Duration::ZERO }, 0.2).await;
    assert!(report.requests > 0 && report.lost == 0, "{report:?}");
}

async fn answer_head_and(stream: &mut TcpStream, head: &[u8], rest: &[u8]) {
    asked(stream).await;
    let _ = stream.write_all(head).await;
    let _ = stream.write_all(rest).await;
}

#[tokio::test]
async fn only_loopback_is_a_target() {
    for address in ["10.0.0.1:80", "[2001:db8::1]:80", "0.0.0.0:80"] {
        let target = Target { name: "app".to_owned(), address: address.parse().unwrap(), lanes: vec![] };
        let refusal = Load::start(target).err().unwrap().to_string();
        assert!(refusal.starts_with("refused to put load on"), "{refusal}");
    }
}
