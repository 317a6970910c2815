//! The sample application's switches, on the real program, over loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Nothing here takes longer unless it hangs.
const DEADLINE: Duration = Duration::from_secs(20);

struct App {
    process: Child,
    address: SocketAddr,
    root: tempfile::TempDir,
}

impl App {
    fn start(environment: &[(&str, &str)]) -> Self {
        Self::baked("", environment)
    }

    fn baked(switches: &str, environment: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (file, content) in [
            ("layers/runtime/version", "11.0.5\n"),
            ("layers/stack/openssl", "OpenSSL 1.1.1\n"),
            ("etc/app/switches", switches),
        ] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_sample-app"))
            .env_clear()
            .env("APP_NAME", "app-foo")
            .env("APP_ROOT", root.path())
            .env("HOSTNAME", "app-1")
            .env("ADDRESS", "127.0.0.1")
            .env("PORT", address.port().to_string())
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process, address, root }
    }

    fn listening(self) -> Self {
        within("the application listens", || TcpStream::connect(self.address).is_ok().then_some(()));
        self
    }

    fn sigterm(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Asks on a connection of its own.
    fn ask(&self, path: &str) -> String {
        let mut stream = self.connect();
        send(&mut stream, path);
        read_head_and_body(&mut stream)
    }

    fn ended(&mut self) -> ExitStatus {
        within("the application ends", || self.process.try_wait().unwrap())
    }

    fn log(&mut self) -> String {
        let mut text = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn within<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        if let Some(value) = attempt() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("gave up waiting until {what}");
}

fn send(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: app\r\n\r\n").as_bytes()).unwrap();
}

/// Reads one answer; a chunked one up to its last chunk.
fn read_head_and_body(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let complete = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            length.map_or_else(|| body.ends_with("0\r\n\r\n"), |length| body.len() >= length.parse().unwrap())
        });
        let read = if complete { 0 } else { stream.read(&mut buffer).unwrap() };
        if read == 0 {
            return text;
        }
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

#[test]
fn it_says_which_runtime_its_image_holds() {
    let app = App::start(&[]).listening();
    let answer = app.ask("/actuator/metrics/app.info");
    assert!(answer.contains(r#""values":["11.0.5"]"#), "{answer}");
    assert!(answer.contains("Content-Type: application/vnd.spring-boot.actuator.v3+json\r\n"), "{answer}");
    assert!(answer.contains("X-Pod: app-1\r\n"), "{answer}");
}

#[test]
fn one_connection_carries_many_requests() {
    let app = App::start(&[]).listening();
    let mut stream = app.connect();
    for _ in 0..3 {
        send(&mut stream, "/actuator/health");
        let answer = read_head_and_body(&mut stream);
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.contains("Connection: keep-alive"),
            "{answer}"
        );
    }
}

#[test]
fn a_draining_application_serves_on_and_says_goodbye_on_every_connection() {
    let mut app = App::start(&[("ON_SIGTERM", "drain"), ("DRAIN_DELAY", "2")]).listening();
    let mut kept = app.connect();
    send(&mut kept, "/");
    assert!(read_head_and_body(&mut kept).contains("Connection: keep-alive"));
    app.sigterm();
    let health = within("the health is out of service", || {
        let answer = app.ask("/actuator/health");
        answer.contains("OUT_OF_SERVICE").then_some(answer)
    });
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    send(&mut kept, "/");
    let last = read_head_and_body(&mut kept);
    assert!(last.starts_with("HTTP/1.1 200") && last.contains("Connection: close"), "{last}");
    assert_eq!(app.ended().code(), Some(0));
}

#[test]
fn a_draining_application_finishes_its_streams() {
    let mut app = App::start(&[("DRAIN_DELAY", "0"), ("DRAIN_TIMEOUT", "10")]).listening();
    let mut stream = app.connect();
    send(&mut stream, "/stream?seconds=2");
    let mut early = app.connect();
    send(&mut early, "/stream?seconds=300&early=1");
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    early.read_exact(&mut first).unwrap();
    app.sigterm();
    for mut answer in [stream, early] {
        let text = read_head_and_body(&mut answer);
        assert!(text.contains("end ") && text.ends_with("0\r\n\r\n"), "{text}");
    }
    assert_eq!(app.ended().code(), Some(0));
}

#[test]
fn a_naive_graceful_application_closes_its_listener_and_finishes_the_open_request() {
    let mut app = App::start(&[("ON_SIGTERM", "graceful")]).listening();
    let mut slow = app.connect();
    send(&mut slow, "/slow?ms=1500");
    std::thread::sleep(Duration::from_millis(300));
    app.sigterm();
    within("connections are refused", || TcpStream::connect(app.address).is_err().then_some(()));
    let answer = read_head_and_body(&mut slow);
    assert!(answer.contains("slow app-foo app-1"), "{answer}");
    assert_eq!(app.ended().code(), Some(0));
}

#[test]
fn an_application_told_to_die_dies_with_requests_open() {
    let mut app = App::start(&[("ON_SIGTERM", "die")]).listening();
    let mut slow = app.connect();
    send(&mut slow, "/slow?ms=60000");
    std::thread::sleep(Duration::from_millis(300));
    app.sigterm();
    assert_eq!(app.ended().code(), Some(143));
    assert!(!matches!(slow.read(&mut [0; 16]), Ok(1..)), "an answer came from a dead application");
}

#[test]
fn an_application_that_ignores_sigterm_serves_on() {
    let mut app = App::start(&[("ON_SIGTERM", "ignore")]).listening();
    app.sigterm();
    std::thread::sleep(Duration::from_millis(500));
    assert!(app.ask("/actuator/health").starts_with("HTTP/1.1 200"));
    assert!(app.process.try_wait().unwrap().is_none());
}

#[test]
fn one_that_is_never_ready_serves_but_its_health_stays_out_of_service() {
    let app = App::start(&[("NEVER_READY", "1")]).listening();
    assert!(app.ask("/actuator/health").starts_with("HTTP/1.1 503"));
    assert!(app.ask("/").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_switch_baked_into_the_image_crashes_it_with_a_stack_trace() {
    let mut app = App::baked("CRASH_AFTER=0.2\n", &[]);
    assert_eq!(app.ended().code(), Some(1));
    let log = app.log();
    assert!(log.contains("java.lang.IllegalStateException") && log.contains("\n\tat io.pivotal"), "{log}");
}

#[test]
fn nothing_listens_during_the_start_delay_and_sigterm_ends_it() {
    let mut app = App::start(&[("START_DELAY", "60")]);
    std::thread::sleep(Duration::from_millis(500));
    assert!(TcpStream::connect(app.address).is_err());
    app.sigterm();
    assert_eq!(app.ended().code(), Some(0));
    assert!(app.root.path().exists());
}

#[test]
fn a_wrong_switch_is_one_line_and_a_failing_exit() {
    let mut app = App::start(&[("ON_SIGTERM", "explode")]);
    assert_eq!(app.ended().code(), Some(2));
    assert_eq!(app.log(), "error: ON_SIGTERM is `explode`, not drain, graceful, die or ignore\n");
}
