//! An image that is in a registry already: which one, and what belongs to it. No layer is read here;
//! those that the target does not have, and cannot mount, go through memory when they are pushed.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::companions::{self, Companion};
use super::content::{Blob, Content, Origin};
use super::graph::{Node, Walk};
use super::params::{PutFrom, Which, digest_of_file};
use super::{Error, small_file};
use crate::concourse::Context;
use crate::image::Pinned;
use crate::image_digest::Source;
use crate::image_digest::verify::{self, PublicKey};
use crate::registry::{Access, Ambient, Client, Repository};

/// Manifests of an index that are fetched at the same time.
const PARALLEL: usize = 4;

/// Where the image to promote is.
pub(super) struct Origins {
    /// Its repository.
    pub(super) client: Arc<Client>,
    /// Its tag or digest there.
    reference: String,
}

impl Origins {
    /// Finds out which image is meant.
    pub(super) async fn of(
        source: &Source,
        from: Option<&PutFrom>,
        which: &Which<'_>,
        context: &Context,
    ) -> Result<Self, Error> {
        let given = from.map(|from| from.repository.as_str()).filter(|name| !name.is_empty());
        let (named, reference) = match which {
            Which::Reference(reference) => (None, reference.clone()),
            Which::File(path) => {
                let (full, text) = small_file(context, "digest_file", path)?;
                let (repository, digest) = digest_of_file(&text).ok_or_else(|| Error::File {
                    path: full,
                    problem: "names no digest".to_owned(),
                    remedy: "`digest_file` is the file `digest` or `image` of an earlier get",
                })?;
                (repository, digest.to_string())
            }
        };
        let repository = given.or(named.as_deref()).unwrap_or(&source.repository);
        let access = access(source, from, repository, &Ambient::of(&context.variables))?;
        let client = Client::reach(repository, &access, &context.log).await?;
        let client = Arc::new(if source.debug { client.traced() } else { client });
        Ok(Self { client, reference })
    }

    /// Fetches the manifests of the image, all of them unless it is there already. With keys, one of
    /// them has to have signed it where it is.
    pub(super) async fn content(&self, target: &Repository, keys: &[PublicKey]) -> Result<Content, Error> {
        let name = self.client.repository().given();
        let separator = if self.reference.contains(':') { '@' } else { ':' };
        let head = self.client.manifest(&self.reference).await?;
        let head = head.ok_or_else(|| Error::Gone(format!("{name}{separator}{}", self.reference)))?;
        let whole = Pinned { repository: name.to_owned(), digest: head.digest.clone() };
        let unfit = |problem| Error::Unfit { pinned: whole.clone(), problem };
        let root = Node::read(head.bytes, "").map_err(|problem| unfit(format!("it is {problem}")))?;
        if !keys.is_empty() {
            let verdict = verify::signature(&self.client, &whole.digest, keys).await?;
            verdict.map_err(|why| Error::Unverified { pinned: whole.clone(), why })?;
        }
        if self.client.repository().is_same(target) {
            return Ok(Content { manifests: vec![root], blobs: Vec::new() });
        }
        walked(&self.client, root, &whole).await
    }
}

impl Origins {
    /// Finds what goes along with the image to `target`.
    pub(super) async fn companions(
        &self,
        content: &Content,
        target: &Repository,
        context: &Context,
    ) -> Result<Vec<Companion>, Error> {
        let Some(root) = content.manifests.last().filter(|_| !self.client.repository().is_same(target))
        else {
            return Ok(Vec::new());
        };
        let repository = self.client.repository().given().to_owned();
        let whole = Pinned { repository, digest: root.digest.clone() };
        companions::found(&self.client, content, &whole, &context.log).await
    }
}

/// Fetches what `root` names, and returns it with all blobs.
pub(super) async fn walked(client: &Arc<Client>, root: Node, whole: &Pinned) -> Result<Content, Error> {
    let unfit = |problem| Error::Unfit { pinned: whole.clone(), problem };
    let mut walk = Walk::from(root);
    loop {
        let ahead = walk.next().map_err(unfit)?;
        if ahead.is_empty() {
            break;
        }
        let fetched = stream::iter(ahead).map(async |child| {
            let found = client.manifest(child.digest.as_str()).await?;
            let gone = || Error::PartGone { whole: whole.clone(), digest: child.digest.clone() };
            let problem = |problem| unfit(format!("`{}` in it is {problem}", child.digest));
            Node::read(found.ok_or_else(gone)?.bytes, &child.media_type).map_err(problem)
        });
        let nodes: Vec<Node> = fetched.buffered(PARALLEL).try_collect().await?;
        for node in nodes {
            walk.add(node);
        }
    }
    let (manifests, blobs) = walk.finish();
    let origin = Origin::Registry(client.clone());
    let blob = |blob: super::graph::Descriptor| Blob {
        digest: blob.digest,
        size: blob.size,
        origin: origin.clone(),
    };
    Ok(Content { manifests, blobs: blobs.into_iter().map(blob).collect() })
}

/// Returns the keys to the repository that is promoted from: its own, or the source's when it is on the
/// same registry. On another one, the source's docker config may have the login.
fn access(
    source: &Source,
    from: Option<&PutFrom>,
    repository: &str,
    ambient: &Ambient,
) -> Result<Access, Error> {
    let near = Repository::parse(repository)?.host() == Repository::parse(&source.repository)?.host();
    let own = from.map(|from| from.access(ambient)).unwrap_or_default();
    Ok(if own.has_login() {
        own
    } else if near {
        source.access(ambient)
    } else {
        Access { docker_config: source.docker_config.clone(), ..own }
    })
}
