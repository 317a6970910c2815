//! `image.tar`: what `docker load` reads, as registry-image writes it. All sizes are known before the
//! first byte comes, so every layer is downloaded to its place in the file.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use serde::Serialize;

use super::super::Error;
use super::download::{Order, all};
use super::found::Image;
use super::stage::{Stage, written};
use crate::image::{Descriptor, Digest};
use crate::log::Log;
use crate::registry::Client;

const BLOCK: u64 = 512;

/// The index of the archive, in the words of `docker save`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    config: &'a str,
    repo_tags: [&'a str; 1],
    layers: Vec<String>,
}

/// An image whose config is here already, and what it is called.
pub(super) struct Named<'a> {
    pub(super) image: &'a Image,
    pub(super) config: &'a [u8],
    pub(super) name: &'a str,
}

/// Writes `image.tar` into the stage.
pub(super) async fn fetch(client: &Client, named: &Named<'_>, stage: &Stage, log: &Log) -> Result<(), Error> {
    let Named { image, config, name } = *named;
    let path = stage.path("image.tar");
    let failed = || written(&path);
    let file = File::create_new(&path).map_err(failed())?;
    let config_digest = image.parts.config.digest.as_str();
    file.write_all_at(&header(config_digest, config.len() as u64), 0).map_err(failed())?;
    file.write_all_at(config, BLOCK).map_err(failed())?;
    let mut end = after(0, config.len() as u64);
    let mut known: BTreeSet<&Digest> = BTreeSet::new();
    let mut orders = Vec::new();
    for layer in image.parts.layers.iter().filter(|layer| known.insert(&layer.digest)) {
        file.write_all_at(&header(&file_of(layer), layer.size), end).map_err(failed())?;
        orders.push(Order { blob: layer, path: path.clone(), start: end + BLOCK });
        end = after(end, layer.size);
    }
    let layers = image.parts.layers.iter().map(file_of).collect();
    let entry = Entry { config: config_digest, repo_tags: [name], layers };
    let index = serde_json::to_vec(&[entry]).expect("texts have a JSON form");
    file.write_all_at(&header("manifest.json", index.len() as u64), end).map_err(failed())?;
    file.write_all_at(&index, end + BLOCK).map_err(failed())?;
    // Two blocks of zeros end an archive.
    file.set_len(after(end, index.len() as u64) + 2 * BLOCK).map_err(failed())?;
    all(client, &orders, log).await
}

fn file_of(layer: &Descriptor) -> String {
    format!("{}.tar.gz", layer.digest.as_str().trim_start_matches("sha256:"))
}

/// Returns where the next entry begins.
fn after(start: u64, size: u64) -> u64 {
    start + BLOCK + size.next_multiple_of(BLOCK)
}

/// Returns the header of a file, field by field as Go writes it.
fn header(name: &str, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let mut set = |start: usize, text: &[u8]| block[start..start + text.len()].copy_from_slice(text);
    set(0, name.as_bytes());
    set(100, b"0000644\0");
    set(108, b"0000000\0");
    set(116, b"0000000\0");
    if size < 1 << 33 {
        set(124, format!("{size:011o}\0").as_bytes());
    } else {
        // More than octal can hold is written in binary.
        set(124, &[0x80]);
        set(128, &size.to_be_bytes());
    }
    set(136, b"00000000000\0");
    set(148, b"        ");
    set(156, b"0");
    set(257, b"ustar\x0000");
    set(329, b"0000000\0");
    set(337, b"0000000\0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_by_others() {
        for size in [0, 5, (1 << 33) - 1, 1 << 33, 1 << 40] {
            let header = header("manifest.json", size);
            let header = tar::Header::from_byte_slice(&header);
            assert_eq!(header.entry_size().unwrap(), size);
            assert_eq!(&*header.path_bytes(), b"manifest.json");
            let mut again = header.clone();
            again.set_cksum();
            assert_eq!(again.cksum().unwrap(), header.cksum().unwrap());
        }
    }
}
