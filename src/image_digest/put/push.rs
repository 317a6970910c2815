//! Sends an image: blobs first, then the manifests that others name, then the tags. It knows at any
//! time what stands, so that a put that ends half-way can say so.

use std::cell::RefCell;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::Error;
use super::content::{Blob, Content};
use crate::concourse::Context;
use crate::registry::{self, Arrival, Client, Repository};

/// After SIGTERM, the tag that is being written gets so long: half of it cannot be written, and what
/// is told has to be true.
const LAST_TAG: Duration = Duration::from_secs(5);

/// An image on its way to a repository.
pub(super) struct Push<'a> {
    /// The repository.
    pub(super) client: &'a Client,
    /// The image.
    pub(super) content: &'a Content,
    /// A repository of the same registry that has the blobs.
    pub(super) mount: Option<&'a Repository>,
    /// So many blobs at the same time.
    pub(super) parallel: usize,
    /// The step.
    pub(super) context: &'a Context,
}

/// What became of the blobs.
#[derive(Clone, Copy, Default)]
struct Tally {
    there: usize,
    mounted: usize,
    sent: usize,
    bytes: u64,
}

impl Push<'_> {
    /// Sends all that the tags need, but for what the tags point at.
    pub(super) async fn parts(&self) -> Result<(), Error> {
        let tally = RefCell::new(Tally::default());
        let work = async {
            let blobs = stream::iter(&self.content.blobs).map(|blob| self.blob(blob, &tally));
            blobs.buffer_unordered(self.parallel).try_collect::<()>().await?;
            self.context.log.line(told(&tally.borrow()));
            for child in self.content.manifests.iter().rev().skip(1).rev() {
                self.client.put_manifest(child.digest.as_str(), &child.media_type, &child.bytes).await?;
            }
            Ok(())
        };
        let standing = || {
            let Tally { there, mounted, sent, .. } = *tally.borrow();
            let (done, all) = (there + mounted + sent, self.content.blobs.len());
            format!("{done} of {all} blobs are in the registry, and no tag was written")
        };
        until_interrupted(self.context, work, standing).await
    }

    async fn blob(&self, blob: &Blob, tally: &RefCell<Tally>) -> Result<(), Error> {
        if self.client.has_blob(&blob.digest).await? {
            tally.borrow_mut().there += 1;
            return Ok(());
        }
        let short = blob.digest.short();
        match self.client.push_blob(blob, self.mount).await? {
            Arrival::Mounted => tally.borrow_mut().mounted += 1,
            Arrival::Sent => {
                self.context.log.line(format_args!("{short}: {} sent", amount(blob.size)));
                let mut tally = tally.borrow_mut();
                tally.sent += 1;
                tally.bytes += blob.size;
            }
        }
        Ok(())
    }

    /// Writes the tags, one after the other.
    pub(super) async fn tags(&self, tags: &[&str]) -> Result<(), Error> {
        for (at, tag) in tags.iter().enumerate() {
            let (written, left) = tags.split_at(at);
            let interrupted = self.context.interrupted.clone();
            if interrupted.clone().now_or_never().is_some() {
                return Err(Error::Interrupted { standing: standing(written, left, "") });
            }
            let late = async {
                interrupted.await;
                tokio::time::sleep(LAST_TAG).await;
            };
            tokio::select! {
                biased;
                result = self.tag(tag) => result.map_err(|source| {
                    Error::HalfWay { standing: standing(written, left, ""), source: Box::new(source) }
                })?,
                () = late => {
                    let open = format!(", and whether `{tag}` was is not known");
                    return Err(Error::Interrupted { standing: standing(written, &left[1..], &open) });
                }
            }
            self.context.log.line(format_args!("`{tag}` written"));
        }
        Ok(())
    }

    async fn tag(&self, tag: &str) -> Result<(), registry::Error> {
        let Some(root) = self.content.manifests.last() else { return Ok(()) };
        let Err(error) = self.client.put_manifest(tag, &root.media_type, &root.bytes).await else {
            return Ok(());
        };
        // Where tags cannot be changed, they cannot be written again either; that it names this image
        // already is all that is asked.
        if error.is_refusal()
            && self.client.head(tag).await.is_ok_and(|found| found.as_ref() == Some(&root.digest))
        {
            return Ok(());
        }
        Err(error)
    }
}

/// Does `work` unless SIGTERM comes first.
pub(super) async fn until_interrupted<T>(
    context: &Context,
    work: impl Future<Output = Result<T, Error>>,
    standing: impl FnOnce() -> String,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        result = work => result,
        () = context.interrupted.clone() => Err(Error::Interrupted { standing: standing() }),
    }
}

/// Says which tags were written and which were not.
fn standing(written: &[&str], left: &[&str], open: &str) -> String {
    let names = |tags: &[&str]| tags.iter().map(|tag| format!("`{tag}`")).collect::<Vec<_>>().join(", ");
    match (written, left) {
        ([], []) => format!("no tag was written before{open}"),
        ([], left) => format!("no tag was written, of {}{open}", names(left)),
        (written, []) => format!("written: {}{open}", names(written)),
        (written, left) => format!("written: {}; not written: {}{open}", names(written), names(left)),
    }
}

fn told(tally: &Tally) -> String {
    let Tally { there, mounted, sent, bytes } = tally;
    let all = there + mounted + sent;
    let blobs = if all == 1 { "1 blob".to_owned() } else { format!("{all} blobs") };
    format!("{blobs}: {there} there already, {mounted} mounted, {sent} sent ({})", amount(*bytes))
}

/// Returns a number of bytes for people.
pub(super) fn amount(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_half_way_tells_what_stands() {
        assert_eq!(standing(&[], &["1", "latest"], ""), "no tag was written, of `1`, `latest`");
        assert_eq!(standing(&["1"], &["latest"], ""), "written: `1`; not written: `latest`");
        let open = ", and whether `1` was is not known";
        assert_eq!(
            standing(&[], &["2"], open),
            "no tag was written, of `2`, and whether `1` was is not known"
        );
    }

    #[test]
    fn bytes_are_told_as_people_read_them() {
        for (bytes, wanted) in [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "1.5 kB"),
            (83_200_000, "83.2 MB"),
            (2_500_000_000, "2.50 GB"),
        ] {
            assert_eq!(amount(bytes), wanted);
        }
    }
}
