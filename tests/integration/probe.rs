//! The prober against a server that answers, refuses, resets, stalls and fails on demand; and what a
//! put makes of it.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rollway::probe::load::{Plan, Prober};
use rollway::probe::prometheus;
use rollway::probe::tally::{Kind, Lane, Tally};

/// How a connection is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Answer,
    Fail,
    Reset,
    Stall,
}

/// An application that does as it is told.
pub(crate) struct Shaky {
    pub(crate) address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    clients: Arc<Mutex<BTreeSet<SocketAddr>>>,
}

impl Shaky {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(Mutex::new(Mode::Answer));
        let clients = Arc::default();
        let shaky = Self { address, mode, clients };
        let (mode, clients) = (shaky.mode.clone(), shaky.clients.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                clients.lock().unwrap().insert(stream.peer_addr().unwrap());
                let mode = mode.clone();
                std::thread::spawn(move || serve(stream, &mode));
            }
        });
        shaky
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn connections(&self) -> usize {
        self.clients.lock().unwrap().len()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

fn serve(mut stream: TcpStream, mode: &Mutex<Mode>) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
        let now = *mode.lock().unwrap();
        let answer = match now {
            Mode::Answer => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            Mode::Fail => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            Mode::Reset => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok");
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            Mode::Stall => {
                std::thread::sleep(Duration::from_secs(20));
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn plan(url: String, lanes: &[Lane]) -> Plan {
    Plan { url, rps: 50, lanes: lanes.to_vec(), ca_certs: Vec::new() }
}

/// Asks for so long and returns what became of it.
fn probe(url: String, lanes: &[Lane], seconds: f64) -> Tally {
    run(async {
        let mut prober = Prober::start(&plan(url, lanes), Instant::now()).unwrap();
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        prober.stop().await;
        prober.tally()
    })
}

fn kinds(tally: &Tally, lane: Lane) -> Vec<Kind> {
    tally.lanes[&lane].kinds.keys().copied().collect()
}

#[test]
fn a_fresh_lane_connects_for_each_request_and_a_pooled_one_does_not() {
    let shaky = Shaky::start();
    let tally = probe(shaky.url(), &[Lane::Fresh], 1.0);
    assert!((30..=60).contains(&tally.sent()) && tally.failed() == 0, "{tally:?}");
    assert_eq!(shaky.connections() as u64, tally.sent());
    let shaky = Shaky::start();
    let tally = probe(shaky.url(), &[Lane::Pooled], 1.0);
    assert!(tally.sent() >= 30 && tally.failed() == 0, "{tally:?}");
    assert!(shaky.connections() < 10, "{}", shaky.connections());
    assert!(tally.lanes[&Lane::Pooled].percentile(99).is_some());
}

#[test]
fn each_failure_is_told_by_what_it_met() {
    for (mode, kind) in [(Mode::Fail, Kind::Server), (Mode::Reset, Kind::Reset)] {
        let shaky = Shaky::start();
        shaky.set(mode);
        let tally = probe(shaky.url(), &[Lane::Fresh, Lane::Pooled], 0.5);
        assert!(tally.sent() > 5 && tally.failed() == tally.sent(), "{mode:?}: {tally:?}");
        assert_eq!((kinds(&tally, Lane::Fresh), kinds(&tally, Lane::Pooled)), (vec![kind], vec![kind]));
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tally = probe(format!("http://{closed}/"), &[Lane::Fresh], 0.3);
    assert_eq!(kinds(&tally, Lane::Fresh), [Kind::Connect]);
}

#[test]
fn a_target_that_stalls_does_not_silence_the_schedule() {
    let shaky = Shaky::start();
    shaky.set(Mode::Stall);
    let tally = probe(shaky.url(), &[Lane::Fresh], 1.0);
    assert!(tally.sent() >= 30, "{tally:?}");
    assert_eq!((tally.failed(), kinds(&tally, Lane::Fresh)), (tally.sent(), vec![Kind::Timeout]));
}

#[test]
fn an_outage_in_the_middle_is_a_run_of_failures_and_ends_with_it() {
    let shaky = Shaky::start();
    let url = shaky.url();
    let tally = run(async {
        let mut prober = Prober::start(&plan(url, &[Lane::Fresh]), Instant::now()).unwrap();
        for mode in [Mode::Answer, Mode::Fail, Mode::Answer] {
            shaky.set(mode);
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        prober.stop().await;
        prober.tally()
    });
    let all = tally.since(Duration::ZERO);
    assert!(all.failed > 10 && all.failed < all.sent && all.longest > 10, "{all:?}");
    assert_eq!(tally.since(Duration::from_millis(1800)).failed, 0, "{tally:?}");
}

#[test]
fn prometheus_answers_numbers_or_its_own_words() {
    let answer = |body: &'static str, status: &'static str| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            let head = String::from_utf8_lossy(&request[..read]).into_owned();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
            head
        });
        format!("http://bob:canary@{address}/prom/")
    };
    let ok = answer(
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"2.5"]}]}}"#,
        "200 OK",
    );
    let samples = run(prometheus::query(&ok, "sum(rate(x[1m]))", &[])).unwrap();
    assert_eq!((samples[0].series.as_str(), samples[0].value), ("{a=\"b\"}", 2.5));
    let bad = answer(r#"{"status":"error","error":"unexpected end of input"}"#, "400 Bad Request");
    let error = run(prometheus::query(&bad, "sum(", &[])).unwrap_err().to_string();
    assert!(error.ends_with("/prom/api/v1/query`: unexpected end of input"), "{error}");
    assert!(!error.contains("canary"), "{error}");
    let gone = answer("<html>", "502 Bad Gateway");
    let error = run(prometheus::query(&gone, "up", &[])).unwrap_err().to_string();
    assert!(error.ends_with("502 Bad Gateway"), "{error}");
}
