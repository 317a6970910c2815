//! check: what does the tag point at now? One ping, one HEAD, and a second HEAD only when it moved.

use super::{Error, Source, Version};
use crate::concourse::Context;
use crate::image::Digest;
use crate::registry::Client;

/// Finds the versions since `cursor`, oldest first.
pub(super) async fn check(
    source: &Source,
    cursor: Option<Version>,
    context: &Context,
) -> Result<Vec<Version>, Error> {
    let sources = source.sources(context).await?;
    let tag = source.tag.as_str();
    let cursor = cursor.map(|cursor| cursor.with_tag(tag));
    let found =
        sources.ask(async |client| look(client, tag, cursor.clone()).await, |found| !found.is_empty());
    let found = found.await?;
    if found.is_empty() {
        let name = format!("{}:{tag}", source.repository);
        context.log.line(format_args!(
            "warning: `{name}` is not in the registry, so there is no version of it (yet)"
        ));
    }
    Ok(found)
}

/// Asks one registry.
async fn look(client: &Client, tag: &str, cursor: Option<Version>) -> Result<Vec<Version>, Error> {
    let Some(current) = client.head(tag).await? else { return Ok(Vec::new()) };
    let cursor_is_served = match moved_from(cursor.as_ref(), &current) {
        Some(before) => client.head(before.as_str()).await?.is_some(),
        None => false,
    };
    Ok(versions(tag, &current, cursor.filter(|_| cursor_is_served)))
}

/// Returns the cursor's digest if the tag left it. A digest that is none cannot be in a registry,
/// so nobody is asked about it.
fn moved_from(cursor: Option<&Version>, current: &Digest) -> Option<Digest> {
    cursor?.checked_digest().ok().filter(|before| before != current)
}

/// Concourse takes the last version for the newest.
fn versions(tag: &str, current: &Digest, before: Option<Version>) -> Vec<Version> {
    let current = Version { tag: tag.to_owned(), digest: current.to_string() };
    before.into_iter().chain([current]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(character: char) -> Digest {
        format!("sha256:{}", character.to_string().repeat(64)).parse().unwrap()
    }

    fn version(digest: &str) -> Version {
        Version { tag: "latest".to_owned(), digest: digest.to_owned() }
    }

    #[test]
    fn only_a_real_move_is_worth_a_second_request() {
        let now = digest('a');
        assert_eq!(moved_from(None, &now), None);
        assert_eq!(moved_from(Some(&version(now.as_str())), &now), None);
        for broken in ["", "sha256:", "latest"] {
            assert_eq!(moved_from(Some(&version(broken)), &now), None, "{broken}");
        }
        assert_eq!(moved_from(Some(&version(digest('b').as_str())), &now), Some(digest('b')));
    }

    #[test]
    fn newest_version_is_last() {
        let found = versions("latest", &digest('a'), Some(version(digest('b').as_str())));
        assert_eq!(found, [version(digest('b').as_str()), version(digest('a').as_str())]);
    }
}
