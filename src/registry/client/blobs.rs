//! Blobs: what an image consists of, as a stream that survives broken connections. What becomes of
//! the bytes is the caller's business; that they are the right ones is decided here.

use std::io;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{Call, Client, Session, malformed, refusal};
use crate::image::Digest;
use crate::registry::manifest::hex_digest;
use crate::registry::retry::Attempts;
use crate::registry::transport::{Answer, Ask, Incoming, redacted};
use crate::registry::{Error, Trouble, ping};

/// How often a download that moves is taken up again: a line that breaks more often than that
/// brings nothing home.
const RESUMPTIONS: u32 = 20;

/// A download that is slower than this on average, in bytes per second, is given up.
const SLOWEST: u64 = 16 << 10;

/// Content that is read whole is no longer than a manifest may be.
const WHOLE: u64 = 4 << 20;

/// Where downloaded bytes go, in order and each of them once.
pub trait Sink {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they cannot be kept; the download ends with this error.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl Sink for Vec<u8> {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// What has arrived of a blob.
struct Part<'a> {
    digest: &'a Digest,
    size: u64,
    hash: Sha256,
    count: u64,
}

impl Client {
    /// Streams the blob `digest` of `size` bytes into `sink`. A connection that breaks is taken up
    /// where it broke, with a range request or by leaving out what is there already; the sink gets no
    /// byte twice. It has seen the right bytes only once this returns.
    ///
    /// # Errors
    /// When the registry cannot be asked, has something else, or the sink cannot go on.
    pub async fn download(&self, digest: &Digest, size: u64, sink: &mut impl Sink) -> Result<(), Error> {
        let mut part = Part { digest, size, hash: Sha256::new(), count: 0 };
        let mut attempts = Attempts::new(self.policy);
        let mut resumptions = 0;
        let began = Instant::now();
        let mut end = began + self.policy.moving().deadline + Duration::from_secs(size / SLOWEST);
        let mut since = began;
        loop {
            let before = part.count;
            let attempt = timeout_at(end, self.pull(&mut part, sink)).await;
            let error = match attempt {
                Ok(Ok(answer)) => return part.verified(&answer),
                Ok(Err(error)) => error,
                Err(_) => return Err(self.too_slow(&blob_call(self, digest))),
            };
            let Some(setback) = error.setback() else { return Err(error) };
            if part.count > before {
                // It moved, so the patience with a registry that brings nothing starts anew.
                (attempts, since) = (Attempts::new(self.policy.moving()), Instant::now());
                resumptions += 1;
                self.log.line(format_args!("the download broke at byte {} of {size}", part.count));
            }
            if resumptions > RESUMPTIONS {
                return Err(Error::GaveUp {
                    attempts: resumptions,
                    took: began.elapsed(),
                    last: Box::new(error),
                });
            }
            let (waited, _) = self.pause(&mut attempts, setback, since.elapsed(), error).await?;
            // The registry is slow only while it is asked.
            end += waited;
        }
    }

    /// Returns a small blob as it is.
    ///
    /// # Errors
    /// When the registry cannot be asked, or has something else.
    pub async fn content(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, Error> {
        if size > WHOLE {
            let url = format!("{}/{}", self.repository.host(), blob_call(self, digest).path);
            let problem = format!("{size} bytes are more than the {WHOLE} that it may have");
            return Err(Error::Malformed { method: Method::GET.to_string(), url, problem });
        }
        let mut bytes = Vec::new();
        self.download(digest, size, &mut bytes).await?;
        Ok(bytes)
    }

    /// Makes one request for what is missing and feeds the sink while it comes.
    async fn pull(&self, part: &mut Part<'_>, sink: &mut impl Sink) -> Result<Answer, Error> {
        let mut incoming = self.opened(part).await?;
        let mut skip = part.offset(&incoming.answer)?;
        while let Some(chunk) = incoming.chunk().await? {
            let chunk = chunk.as_ref();
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= known as u64;
            part.append(&chunk[known..], sink, &incoming.answer)?;
        }
        if part.count < part.size {
            return Err(ended_early(&incoming.answer, part));
        }
        Ok(incoming.answer)
    }

    async fn opened(&self, part: &Part<'_>) -> Result<Incoming<'_>, Error> {
        let call = blob_call(self, part.digest);
        let deadline = Instant::now() + self.policy.deadline;
        let opened = async {
            let session = self.session().await?;
            let incoming = self.open(&call, &session, part.count).await?;
            if incoming.answer.status != StatusCode::UNAUTHORIZED {
                return self.accepted(incoming, part).await;
            }
            // The turn of this request ends here: a login needs one of its own.
            let refused = incoming.refused().await;
            match self.renewed(&session, &ping::challenges(&refused)).await? {
                Some(session) => {
                    let incoming = self.open(&call, &session, part.count).await?;
                    self.accepted(incoming, part).await
                }
                None => Err(refusal(&refused, &self.keyring.secrets())),
            }
        };
        timeout_at(deadline, opened).await.unwrap_or_else(|_| Err(self.too_slow(&call)))
    }

    async fn open(&self, call: &Call, session: &Session, from: u64) -> Result<Incoming<'_>, Error> {
        let url = session.base.join(&call.path).map_err(|error| Error::Client(error.into()))?;
        let authorization = session.authorization.clone();
        let ask = Ask { method: call.method.clone(), url, accept: call.accept, authorization };
        let incoming = self.transport.open(ask, from).await?;
        self.note(incoming.answer.status, session).await;
        Ok(incoming)
    }

    async fn accepted<'a>(&self, incoming: Incoming<'a>, part: &Part<'_>) -> Result<Incoming<'a>, Error> {
        match incoming.answer.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(incoming),
            StatusCode::NOT_FOUND => Err(Error::NoBlob { digest: part.digest.clone() }),
            StatusCode::RANGE_NOT_SATISFIABLE => Err(part.wrong_size(&incoming.answer, None)),
            _ => Err(refusal(&incoming.refused().await, &self.keyring.secrets())),
        }
    }
}

impl Part<'_> {
    /// Returns how many bytes of the answer are here already. An answer that is longer or shorter
    /// than the manifest says is refused before it is read.
    fn offset(&self, answer: &Answer) -> Result<u64, Error> {
        let length = number(&answer.headers, CONTENT_LENGTH.as_str());
        if answer.status == StatusCode::PARTIAL_CONTENT {
            let range =
                answer.headers.get(CONTENT_RANGE).and_then(|value| content_range(value.to_str().ok()?));
            return match range {
                Some((start, total))
                    if start <= self.count && total.is_none_or(|total| total == self.size) =>
                {
                    Ok(self.count - start)
                }
                Some((_, Some(total))) if total != self.size => Err(self.wrong_size(answer, Some(total))),
                _ => Err(malformed(answer, "the answer is not the part that was asked for".to_owned())),
            };
        }
        match length {
            Some(length) if length != self.size => Err(self.wrong_size(answer, Some(length))),
            _ => Ok(self.count),
        }
    }

    fn append(&mut self, bytes: &[u8], sink: &mut impl Sink, answer: &Answer) -> Result<(), Error> {
        if self.count + bytes.len() as u64 > self.size {
            return Err(self.wrong_size(answer, None));
        }
        self.hash.update(bytes);
        sink.take(bytes).map_err(|source| Error::Store { digest: self.digest.clone(), source })?;
        self.count += bytes.len() as u64;
        Ok(())
    }

    fn verified(self, answer: &Answer) -> Result<(), Error> {
        let found = hex_digest(&self.hash.finalize());
        if &found == self.digest {
            return Ok(());
        }
        let (method, url) = (answer.method.to_string(), redacted(&answer.asked));
        Err(Error::Mismatch { method, url, wanted: self.digest.clone(), found })
    }

    fn wrong_size(&self, answer: &Answer, found: Option<u64>) -> Error {
        let found = found.map_or_else(|| "another number of".to_owned(), |count| count.to_string());
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // What a proxy or a login page serves in place of a layer is named by its type.
        let kind = kind.filter(|kind| kind.starts_with("text/")).map(|kind| format!(" of {kind}"));
        let kind = kind.unwrap_or_default();
        let problem = format!("it has {found} bytes{kind} where the manifest says {}", self.size);
        malformed(answer, problem)
    }
}

fn blob_call(client: &Client, digest: &Digest) -> Call {
    let path = format!("v2/{}/blobs/{digest}", client.repository.path());
    Call { method: Method::GET, path, accept: None }
}

fn ended_early(answer: &Answer, part: &Part<'_>) -> Error {
    Error::Unreachable {
        method: answer.method.to_string(),
        url: redacted(&answer.asked),
        trouble: Trouble::Broken,
        text: format!("the answer ended after {} of {} bytes", part.count, part.size),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Reads `bytes 10-19/20` as where it starts and how long the whole is.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_of_an_answer_is_its_start_and_the_whole() {
        assert_eq!(content_range("bytes 10-19/20"), Some((10, Some(20))));
        assert_eq!(content_range("bytes 10-19/*"), Some((10, None)));
        for none in ["", "bytes */20", "bytes 1", "lines 1-2/3", "bytes x-2/3"] {
            assert_eq!(content_range(none), None, "{none}");
        }
    }
}
