//! The sandbox image: one static program that holds a pod's namespaces.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;

use super::place::SANDBOX_IMAGE;
use crate::image::{Entry, Image, Layer, Parts};

const TARGET: &str = "x86_64-unknown-linux-musl";

/// Writes the image's archive to `archive`; the program is looked for around `executable`.
pub(crate) fn write(executable: &Path, archive: &Path) -> anyhow::Result<()> {
    let program = find(executable)?;
    let layer = Layer::new("pause", &BTreeMap::from([("pause".to_owned(), Entry::program(&program)?)]))?;
    let parts = Parts { layers: vec![layer], entrypoint: vec!["/pause".to_owned()], ..Parts::default() };
    Image::new(parts).oci_archive(archive, SANDBOX_IMAGE)
}

/// Finds `pause` beside this executable, or where cargo puts static programs. One that needs a dynamic loader is
/// passed over: the image has none.
fn find(executable: &Path) -> anyhow::Result<PathBuf> {
    let beside = executable.parent().unwrap_or(Path::new("/"));
    let target =
        beside.ancestors().find(|directory| directory.file_name().is_some_and(|name| name == "target"));
    let mut candidates = vec![beside.join("pause")];
    for profile in ["release", "debug"] {
        candidates.extend(target.map(|target| target.join(TARGET).join(profile).join("pause")));
    }
    let is_static = |path: &PathBuf| std::fs::read(path).is_ok_and(|program| !needs_loader(&program));
    match candidates.into_iter().find(is_static) {
        Some(program) => Ok(program),
        None => bail!(
            "the static program `pause` is not built; run `cargo build --release --target {TARGET} -p rollway-lab --bins`"
        ),
    }
}

/// Whether a 64-bit little-endian ELF program names a dynamic loader (`PT_INTERP`), or is no such program.
fn needs_loader(program: &[u8]) -> bool {
    const INTERPRETER: u64 = 3;
    let number = |at: usize, size: usize| {
        let bytes = program.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let headers = || {
        let table = usize::try_from(number(32, 8)?).ok()?;
        let (size, count) = (usize::try_from(number(54, 2)?).ok()?, usize::try_from(number(56, 2)?).ok()?);
        (0..count).map(|index| number(table + index * size, 4)).collect::<Option<Vec<_>>>()
    };
    !program.starts_with(b"\x7fELF") || headers().is_none_or(|kinds| kinds.contains(&INTERPRETER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..4].copy_from_slice(b"\x7fELF");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            let mut header = vec![0; 56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            bytes.extend(header);
        }
        bytes
    }

    #[test]
    fn a_program_with_an_interpreter_needs_a_loader() {
        assert!(needs_loader(&program(&[1, 3, 1])));
        assert!(!needs_loader(&program(&[1, 2])));
    }

    #[test]
    fn what_is_not_a_whole_program_is_never_taken_for_a_static_one() {
        assert!(needs_loader(b"#!/bin/sh\n"));
        assert!(needs_loader(&program(&[1, 2])[..80]));
    }
}
