//! After a put: does the registry show what was pushed? Some do so only a moment later, and Concourse
//! gets the new version right after the put.

use std::time::Duration;

use futures::future::join_all;

use crate::concourse::Context;
use crate::image::Digest;
use crate::registry::{self, Client, Policy};

/// How long is waited between the looks: about half a minute in all.
const WAITS: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_millis(750),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// Returns the patience with one look: all is written, and nobody waits an hour to hear of that.
pub(super) fn patience() -> Policy {
    let deadline = WAITS.iter().sum();
    Policy { deadline, throttled: deadline, ..Policy::default() }
}

/// Waits until `tags` and `digest` are served. That they are not is a warning: the put is done.
pub(super) async fn wait(client: &Client, tags: &[&str], digest: &Digest, context: &Context) {
    let mut missing: Vec<&str> = tags.iter().copied().chain([digest.as_str()]).collect();
    let mut waits = WAITS.iter();
    loop {
        let looks = join_all(missing.iter().map(|reference| client.head(reference))).await;
        let mut seen = missing.iter().zip(&looks);
        if let Some((_, Err(error))) = seen.find(|(_, look)| look.is_err()) {
            return context.log.line(warning(error));
        }
        let open =
            missing.iter().zip(looks).filter(|(_, look)| !matches!(look, Ok(Some(found)) if found == digest));
        let open: Vec<_> = open.map(|(reference, look)| (*reference, look.ok().flatten())).collect();
        if open.is_empty() {
            return;
        }
        let Some(wait) = waits.next() else {
            return open
                .iter()
                .for_each(|(reference, found)| context.log.line(unseen(reference, found.as_ref())));
        };
        missing = open.into_iter().map(|(reference, _)| reference).collect();
        tokio::select! {
            () = tokio::time::sleep(*wait) => {}
            // All is written, so there is nothing to put in order.
            () = context.interrupted.clone() => return,
        }
    }
}

fn warning(error: &registry::Error) -> String {
    format!(
        "warning: whether the registry shows what was pushed could not be seen: {}",
        crate::failure::chain(error)
    )
}

fn unseen(reference: &str, found: Option<&Digest>) -> String {
    match found {
        Some(other) => format!(
            "warning: `{reference}` was written, and names `{other}` now: somebody else writes it too"
        ),
        None => format!("warning: the registry does not show `{reference}` yet; a get may fail for a while"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_of_somebody_else_is_told_from_one_that_is_late() {
        let digest = registry::digest_of(b"");
        assert!(unseen("latest", Some(&digest)).contains("somebody else writes it too"));
        assert!(unseen("latest", None).contains("does not show `latest` yet"));
    }
}
