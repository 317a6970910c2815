//! Requests that carry something to the registry. They have a client of their own: the usual one ends
//! an exchange on which nothing arrives for a while, and during an upload nothing does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use reqwest::redirect::Policy;
use sha2::{Digest as _, Sha256};

use super::{Answer, Ask, Transport, builder, read, redacted, unreachable};
use crate::image::Digest;
use crate::registry::manifest::named;
use crate::registry::{Error, Trouble};

/// An upload that stands still for this long is over.
const STALL: Duration = Duration::from_secs(60);

/// When all is sent, a registry may still have to hash it and to move it to its store.
const FINISH: Duration = Duration::from_secs(300);

/// The kind of a blob in every request.
const BYTES: &str = "application/octet-stream";

/// What kept the bytes of a blob from being read.
pub type SupplyError = Box<dyn std::error::Error + Send + Sync>;

/// A blob to be pushed. Its bytes can be had more than once, because an upload that breaks starts over.
pub trait Supply: Send + Sync {
    /// Returns its digest.
    fn digest(&self) -> &Digest;

    /// Returns how many bytes it has.
    fn size(&self) -> u64;

    /// Returns its bytes from the start.
    fn open(&self) -> BoxStream<'static, Result<Vec<u8>, SupplyError>>;
}

/// What a request carries.
pub(in crate::registry) enum Load<'a> {
    /// Nothing, and it says so.
    Nothing,
    /// A text that is all there.
    Whole { media_type: &'a str, bytes: Vec<u8> },
    /// A part of a blob that begins at this byte.
    Part { bytes: Vec<u8>, start: u64 },
    /// All of a blob.
    Blob(&'a dyn Supply),
}

impl Transport {
    /// Sends `ask` with `load` and reads the whole answer, whatever its status. Redirects are not followed.
    pub(in crate::registry) async fn submit(&self, ask: Ask, load: Load<'_>) -> Result<Answer, Error> {
        let _turn = self.limit.turn().await;
        let answer = self.carry(ask, load).await;
        self.tell(&answer);
        answer
    }

    /// Returns the client that waits for an answer while it sends, and follows nobody.
    fn patient(&self) -> Result<&reqwest::Client, Error> {
        if let Some(client) = self.pushing.get() {
            return Ok(client);
        }
        let client = builder(&self.tls).redirect(Policy::none()).build();
        let client = client.map_err(|error| Error::Client(error.into()))?;
        Ok(self.pushing.get_or_init(|| client))
    }

    async fn carry(&self, ask: Ask, load: Load<'_>) -> Result<Answer, Error> {
        let (method, asked) = (ask.method.clone(), ask.url.clone());
        let mut request = self.patient()?.request(ask.method, ask.url);
        if let Some(authorization) = ask.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let watch = Arc::new(Watch::default());
        let mut expected = 0;
        request = match load {
            Load::Nothing => request.header(CONTENT_LENGTH, 0),
            Load::Whole { media_type, bytes } => request.header(CONTENT_TYPE, media_type).body(bytes),
            Load::Part { bytes, start } => {
                let range = format!("{start}-{}", (start + bytes.len() as u64).saturating_sub(1));
                request.header(CONTENT_TYPE, BYTES).header(CONTENT_RANGE, range).body(bytes)
            }
            Load::Blob(supply) => {
                expected = supply.size();
                let body = reqwest::Body::wrap_stream(checked(supply, watch.clone()));
                request.header(CONTENT_TYPE, BYTES).header(CONTENT_LENGTH, expected).body(body)
            }
        };
        let exchange = async {
            match request.send().await {
                Ok(response) => read(method.clone(), asked.clone(), response).await,
                Err(error) => Err(unreachable(&method, &asked, error)),
            }
        };
        let result = tokio::select! {
            result = exchange => result,
            () = watch.stalled(expected) => Err(Error::Unreachable {
                method: method.to_string(),
                url: redacted(&asked),
                trouble: Trouble::Timeout,
                text: Trouble::Timeout.to_string(),
            }),
        };
        // An upload that we broke off ourselves is not the connection's fault.
        match watch.failure() {
            Some(failure) => Err(failure),
            None => result,
        }
    }
}

/// What is known about an upload while it runs.
#[derive(Default)]
struct Watch {
    sent: AtomicU64,
    failed: Mutex<Option<Error>>,
}

impl Watch {
    /// Ends when nothing has moved for too long.
    async fn stalled(&self, expected: u64) {
        let mut seen = None;
        loop {
            let sent = self.sent.load(Ordering::Relaxed);
            if seen == Some(sent) {
                return;
            }
            seen = Some(sent);
            tokio::time::sleep(if sent < expected { STALL } else { FINISH }).await;
        }
    }

    fn failure(&self) -> Option<Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, error: Error) -> std::io::Error {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        std::io::Error::other("the upload was broken off")
    }
}

/// Passes the bytes of `supply` on, and holds the last of them back until all are what its digest names.
/// Nobody asks a body for more once its length is reached, so the end would be too late.
fn checked(
    supply: &dyn Supply,
    watch: Arc<Watch>,
) -> impl Stream<Item = std::io::Result<Vec<u8>>> + Send + 'static {
    let (digest, size) = (supply.digest().clone(), supply.size());
    let start = (supply.open(), Sha256::new(), 0_u64);
    stream::try_unfold(start, move |(mut bytes, mut hash, before)| {
        let (digest, watch) = (digest.clone(), watch.clone());
        async move {
            let chunk = match bytes.next().await {
                None if before == size => return Ok(None),
                None => return Err(watch.fail(Error::Altered { digest })),
                Some(Err(source)) => return Err(watch.fail(Error::Supply { digest, source })),
                Some(Ok(chunk)) => chunk,
            };
            hash.update(&chunk);
            let now = before + chunk.len() as u64;
            if now > size || (now == size && named(hash.clone()) != digest) {
                return Err(watch.fail(Error::Altered { digest }));
            }
            watch.sent.store(now, Ordering::Relaxed);
            Ok(Some((chunk, (bytes, hash, now))))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::manifest::digest_of;

    struct Chunks(Digest, u64, Vec<Result<Vec<u8>, &'static str>>);

    impl Supply for Chunks {
        fn digest(&self) -> &Digest {
            &self.0
        }

        fn size(&self) -> u64 {
            self.1
        }

        fn open(&self) -> BoxStream<'static, Result<Vec<u8>, SupplyError>> {
            stream::iter(self.2.clone()).map(|chunk| chunk.map_err(SupplyError::from)).boxed()
        }
    }

    async fn passed(supply: &Chunks) -> (usize, Option<String>) {
        let watch = Arc::new(Watch::default());
        let chunks: Vec<_> = checked(supply, watch.clone()).collect().await;
        let passed = chunks.iter().flatten().map(Vec::len).sum();
        (passed, watch.failure().map(|error| crate::failure::chain(&error)))
    }

    #[tokio::test]
    async fn last_byte_waits_until_all_are_the_right_ones() {
        let digest = digest_of(b"hello");
        let chunks = |texts: &[&str]| texts.iter().map(|text| Ok(text.as_bytes().to_vec())).collect();
        let right = Chunks(digest.clone(), 5, chunks(&["hel", "lo"]));
        assert_eq!(passed(&right).await, (5, None));
        let altered = format!("the bytes of `{digest}` are not what it names");
        for (size, texts, sent) in [
            (5, &["hel", "l0"][..], 3),
            (5, &["hel"], 3),
            (4, &["hel", "lo"], 3),
            (6, &["hello"], 5),
            (0, &["h"], 0),
        ] {
            let wrong = Chunks(digest.clone(), size, chunks(texts));
            assert_eq!(passed(&wrong).await, (sent, Some(altered.clone())), "{texts:?}");
        }
        let broken = Chunks(digest.clone(), 5, vec![Ok(b"he".to_vec()), Err("disk on fire")]);
        let words = format!("failed to read the bytes of `{digest}`: disk on fire");
        assert_eq!(passed(&broken).await, (2, Some(words)));
    }

    #[tokio::test]
    async fn nothing_is_a_blob_too() {
        let nothing = Chunks(digest_of(b""), 0, Vec::new());
        assert_eq!(passed(&nothing).await, (0, None));
    }
}
