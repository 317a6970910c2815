//! Reads containers' logs, line by line, through connections that are cut, and keeps none of it.

use futures::io::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;

use super::{Place, pause, steady};
use crate::cluster;
use crate::failure::chain;
use crate::kpack::Build;
use crate::kpack::steps::{Progress, steps};
use crate::kpack_trigger::Error;
use crate::kpack_trigger::follow::own_pod;
use crate::kpack_trigger::mask::Mask;
use crate::kpack_trigger::report::heading;
use crate::kpack_trigger::tail::{LINES, Position, Tail};

/// A line that is longer is said in pieces, so that a log without line breaks needs no memory.
const LONGEST_LINE: usize = 64 * 1024;
/// How often a connection that breaks in mid-log is made again without a new line in between.
const TRIES: u32 = 5;

/// How much of a finished build's log could be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it.
    All,
    /// None: the pod is gone, or there never was one.
    NoPod,
    /// None: the credentials may not read it.
    Denied,
    /// As far as the API server served it, and why not further.
    Broken(String),
}

/// How one reading of a log ended.
pub(super) enum Read {
    /// At its end, as far as it is written.
    End,
    /// It may not be read.
    Denied,
    /// The container, or its pod, is not there.
    Gone,
    /// It cannot be read right now.
    NotYet,
}

impl Place {
    /// Writes the log of all steps of a build, as far as they have run.
    pub async fn write_log(&self, build: &Build, sink: &mut (dyn FnMut(&str) + Send)) -> Written {
        let pods = match steady(async || self.pods().await.map_err(Error::from)).await {
            Err(Error::Cluster(error)) if error.status() == Some(403) => return Written::Denied,
            Err(error) => return Written::Broken(chain(&error)),
            Ok(pods) => pods,
        };
        let Some(pod) = own_pod(build, &pods) else { return Written::NoPod };
        for step in steps(pod).iter().filter(|step| !matches!(step.progress, Progress::Waiting { .. })) {
            sink(&heading(&step.name));
            let (mut position, mut mask) = (Position::default(), Mask::of(&step.name));
            let mut masked = |line: &str| sink(&mask.line(line));
            let mut tries = 0;
            loop {
                match self.read_log(pod, &step.name, &mut position, &mut masked).await {
                    Ok(Read::Denied) => return Written::Denied,
                    Ok(_) => break,
                    Err(error) if tries == TRIES => return Written::Broken(chain(&error)),
                    Err(error) => {
                        tries += 1;
                        // One that was cut is served.
                        if error.is_transient() {
                            tokio::time::sleep(pause(&error)).await;
                        }
                    }
                }
            }
        }
        Written::All
    }

    /// Reads what there is of a container's log after `position`, without waiting for more.
    pub(super) async fn read_log(
        &self,
        pod: &Pod,
        container: &str,
        position: &mut Position,
        sink: &mut (dyn FnMut(&str) + Send + '_),
    ) -> Result<Read, cluster::Error> {
        self.read(
            pod,
            LogParams { container: Some(container.to_owned()), ..LogParams::default() },
            position,
            sink,
        )
        .await
    }

    /// Reads a container's log after `position` until the connection ends, which it does with the
    /// container at the latest.
    pub(super) async fn follow_log(
        &self,
        pod: &Pod,
        container: &str,
        position: &mut Position,
        sink: &mut (dyn FnMut(&str) + Send + '_),
    ) -> Result<Read, cluster::Error> {
        let container = Some(container.to_owned());
        self.read(pod, LogParams { container, follow: true, ..LogParams::default() }, position, sink).await
    }

    async fn read(
        &self,
        pod: &Pod,
        parameters: LogParams,
        position: &mut Position,
        sink: &mut (dyn FnMut(&str) + Send + '_),
    ) -> Result<Read, cluster::Error> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let parameters = LogParams { timestamps: true, since_time: position.since(), ..parameters };
        let doing = format!("read the log of `{name}`");
        let stream = match self.pod_api().log_stream(name, &parameters).await {
            Ok(stream) => stream,
            Err(error) => {
                let error = self.cluster.describe(error, &doing);
                return match error.status() {
                    Some(401 | 403) => Ok(Read::Denied),
                    Some(404) => Ok(Read::Gone),
                    Some(400) => Ok(Read::NotYet),
                    _ => Err(error),
                };
            }
        };
        lines(stream, &mut |line| {
            if let Some(text) = position.take(line) {
                sink(text);
            }
        })
        .await
        .map_err(|error| cluster::Error::Unexpected { doing, why: error.to_string() })?;
        Ok(Read::End)
    }

    /// Returns the last lines of a container's log.
    pub(super) async fn tail(&self, pod: &str, container: &str) -> Vec<String> {
        let mut mask = Mask::of(container);
        let parameters = LogParams {
            container: Some(container.to_owned()),
            // What begins in the middle of a value cannot be masked.
            tail_lines: i64::try_from(LINES).ok().filter(|_| mask.is_per_line()),
            ..LogParams::default()
        };
        let mut tail = Tail::default();
        if let Ok(stream) = self.pod_api().log_stream(pod, &parameters).await {
            // What was read before it broke is still worth telling.
            let _ = lines(stream, &mut |line| tail.push(&mask.line(line))).await;
        }
        tail.of("").unwrap_or_default()
    }
}

/// Says each line of `stream`; one that never ends is said in pieces.
async fn lines(stream: impl AsyncBufRead, say: &mut (dyn FnMut(&str) + Send + '_)) -> std::io::Result<()> {
    let mut stream = std::pin::pin!(stream);
    let mut line: Vec<u8> = Vec::new();
    loop {
        let chunk = stream.fill_buf().await?;
        if chunk.is_empty() {
            break;
        }
        let room = LONGEST_LINE - line.len();
        let end = chunk.iter().take(room).position(|byte| *byte == b'\n');
        let taken = end.map_or(chunk.len().min(room), |end| end + 1);
        line.extend_from_slice(&chunk[..taken]);
        stream.as_mut().consume(taken);
        if end.is_some() || line.len() == LONGEST_LINE {
            say(text(&line).trim_end_matches(['\n', '\r']));
            line.clear();
        }
    }
    if !line.is_empty() {
        say(&text(&line));
    }
    Ok(())
}

fn text(line: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(bytes: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        let reader = futures::io::BufReader::with_capacity(7, bytes);
        lines(reader, &mut |line| all.push(line.to_owned())).await.unwrap();
        all
    }

    #[tokio::test]
    async fn lines_are_said_whole_however_they_arrive() {
        assert_eq!(
            said(b"one\r\ntwo, longer than a chunk\n\nlast").await,
            ["one", "two, longer than a chunk", "", "last"]
        );
        assert_eq!(said("grün".as_bytes()).await, ["grün"]);
        assert_eq!(said(b"\xff\n").await, ["\u{fffd}"]);
        assert_eq!(said(b"").await, [""; 0]);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_said_in_pieces() {
        let pieces = said(&vec![b'x'; LONGEST_LINE * 2 + 1]).await;
        assert_eq!(pieces.iter().map(String::len).collect::<Vec<_>>(), [LONGEST_LINE, LONGEST_LINE, 1]);
    }
}
