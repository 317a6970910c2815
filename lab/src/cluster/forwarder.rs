//! The forwarder as `lab up` sees it: a process that holds the lab's ports on the host before the lab exists, so
//! that nobody else can take them, and outlives `lab up`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context as _;

use super::logs;
use super::place::Place;
use super::plan::Ports;

/// A forwarder that waits for the lab.
pub(crate) struct Forwarder {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    ports: Ports,
    log: std::path::PathBuf,
}

impl Forwarder {
    /// Starts the forwarder of `place`. It takes the ports of the last lab when they are still free, so that
    /// what was written down about that one stays right.
    pub(crate) fn start(place: &Place, executable: &Path) -> anyhow::Result<Self> {
        let log = place.logs().join("forward.log");
        let errors = File::create(&log).with_context(|| format!("failed to create `{}`", log.display()))?;
        let memory = place.target().join("ports.json");
        let preferred = fs::read(&memory).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let preferred: [u16; 4] = preferred.unwrap_or_default();
        let mut child = Command::new("setsid")
            .arg(executable)
            .arg("forward")
            .arg(place.marker())
            .args(preferred.map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .context("failed to start the forwarder")?;
        let input = child.stdin.take().context("the forwarder has no input")?;
        let mut output = BufReader::new(child.stdout.take().context("the forwarder has no output")?);
        let line = read(&mut output, &log)?;
        let ports: [u16; 4] = serde_json::from_str(&line).context("the forwarder did not name its ports")?;
        // The lab runs as well when its ports cannot be remembered.
        let _ = fs::write(&memory, &line);
        Ok(Self { child, input, output, ports: Ports::of(ports), log })
    }

    /// The ports that it holds.
    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    /// Lets it serve the lab of `supervisor`.
    pub(crate) fn enter(&mut self, supervisor: u32) -> anyhow::Result<()> {
        writeln!(self.input, "{supervisor}").and_then(|()| self.input.flush()).with_context(|| {
            format!("the forwarder {} has ended\n{}", self.child.id(), logs::tail(&self.log))
        })?;
        read(&mut self.output, &self.log).map(drop)
    }
}

fn read(output: &mut BufReader<ChildStdout>, log: &Path) -> anyhow::Result<String> {
    let mut line = String::new();
    output.read_line(&mut line).context("failed to listen to the forwarder")?;
    anyhow::ensure!(!line.is_empty(), "the forwarder has ended\n{}", logs::tail(log));
    Ok(line)
}
