//! An OCI layout, in a directory or in an archive: what of it is pushed, byte for byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Error;
use super::content::{Blob, Content, Origin, in_memory};
use super::files::Files;
use super::graph::{Descriptor, Node, Walk};
use crate::image::Digest;
use crate::registry::digest_of;

/// The list of what is in a layout.
pub(super) const INDEX: &str = "index.json";

/// A file beside it by which registry-image, and `in` of this type, say that the layout was made from
/// an image without an index.
const SINGLE: &str = "single-image-digest";

/// So many indexes in each other are in no honest layout.
const DEEPEST: usize = 16;

/// Reads a layout.
pub(super) fn read(files: &Files) -> Result<Content, Error> {
    let mut walk = Walk::from(root(files)?);
    loop {
        let ahead = walk.next().map_err(|problem| files.bad(problem))?;
        if ahead.is_empty() {
            break;
        }
        for child in ahead {
            walk.add(manifest(files, &child)?);
        }
    }
    let (manifests, blobs) = walk.finish();
    let blobs = blobs.iter().map(|descriptor| blob(files, descriptor)).collect::<Result<_, _>>()?;
    Ok(Content { manifests, blobs })
}

/// Finds what gets the tags: the single image where the layout has one, else its innermost index.
fn root(files: &Files) -> Result<Node, Error> {
    let mut node = parsed(files, INDEX, files.needed(INDEX)?, "")?;
    for _ in 0..DEEPEST {
        match node.manifests.as_slice() {
            [only] if only.is_index() => node = manifest(files, only)?,
            // Nobody who makes an archive of one image means the index around it. Of a directory,
            // registry-image pushes that index, and pipelines know its digest.
            [only] if files.is_archive() => return manifest(files, only),
            _ => break,
        }
    }
    let Some(single) = files.text(SINGLE)? else { return Ok(node) };
    let single = String::from_utf8_lossy(&single).trim().parse::<Digest>();
    let single = single.map_err(|error| files.bad(format!("`{SINGLE}`: {error}")))?;
    match node.manifests.iter().find(|child| child.digest == single) {
        Some(child) => manifest(files, child),
        None => Err(files.bad(format!("`{SINGLE}` names `{single}`, which is not in its index"))),
    }
}

fn manifest(files: &Files, descriptor: &Descriptor) -> Result<Node, Error> {
    let name = path(&descriptor.digest);
    let bytes = match files.text(&name)? {
        Some(bytes) => bytes,
        None => inline(descriptor).ok_or_else(|| files.missing(&name))?,
    };
    let found = digest_of(&bytes);
    if found != descriptor.digest {
        return Err(files.bad(format!("the content of `{name}` has the digest `{found}`")));
    }
    parsed(files, &name, bytes, &descriptor.media_type)
}

fn parsed(files: &Files, name: &str, bytes: Vec<u8>, declared: &str) -> Result<Node, Error> {
    Node::read(bytes, declared).map_err(|problem| files.bad(format!("`{name}` is {problem}")))
}

/// What is in the blob is looked at while it is sent.
fn blob(files: &Files, descriptor: &Descriptor) -> Result<Blob, Error> {
    let name = path(&descriptor.digest);
    let Some(extent) = files.find(&name)? else {
        let bytes = inline(descriptor).filter(|bytes| digest_of(bytes) == descriptor.digest);
        return bytes.map(in_memory).ok_or_else(|| files.missing(&name));
    };
    let Descriptor { digest, size, .. } = descriptor.clone();
    if extent.length != size {
        return Err(files.bad(format!("`{name}` has {} bytes instead of {size}", extent.length)));
    }
    Ok(Blob { digest, size, origin: Origin::Disk(extent) })
}

fn inline(descriptor: &Descriptor) -> Option<Vec<u8>> {
    STANDARD.decode(descriptor.data.as_deref()?).ok()
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}", digest.as_str().replace(':', "/"))
}
