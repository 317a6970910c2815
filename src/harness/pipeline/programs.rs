//! Which executable stands for which resource type.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Config, Error};
use crate::harness::Program;
use crate::harness::container::Container;

/// Executables by type.
pub type Programs = BTreeMap<String, Program>;

/// Where executables are looked for.
pub struct Places {
    /// Those that were named.
    pub named: BTreeMap<String, PathBuf>,
    /// The directory whose files have the types' names.
    pub beside: Option<PathBuf>,
    /// The CA directory of types that are images.
    pub certificates: PathBuf,
}

/// Finds an executable for every resource that a job of the pipeline uses.
///
/// # Errors
///
/// When there is none, or an image cannot be unpacked.
pub fn find(config: &Config, places: &Places) -> Result<Programs, Error> {
    let mut programs = Programs::new();
    for name in used(config) {
        let Some(resource) = config.resources.get(name) else { continue };
        if programs.contains_key(&resource.kind) {
            continue;
        }
        let missing = || Error::NoProgram { resource: name.to_owned(), kind: resource.kind.clone() };
        let path = places.path_of(&resource.kind).ok_or_else(missing)?;
        let program = if is_image(&path) {
            Container::open(&path, &places.certificates).map(Program::Image)
        } else {
            Program::at(&path)
        };
        programs.insert(resource.kind.clone(), program?);
    }
    Ok(programs)
}

fn used(config: &Config) -> Vec<&str> {
    let of_job = |job| -> Vec<&str> {
        let job: &super::config::Job = job;
        let gets = job.gets().into_iter().map(|get| get.resource.as_str());
        gets.chain(job.puts().into_iter().map(|put| put.resource.as_str())).collect()
    };
    config.jobs.iter().flat_map(of_job).collect()
}

fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tar") || path.join("oci-layout").is_file()
}

impl Places {
    fn path_of(&self, kind: &str) -> Option<PathBuf> {
        if let Some(path) = self.named.get(kind) {
            return Some(path.clone());
        }
        let path = self.beside.as_ref()?.join(kind);
        path.is_file().then_some(path)
    }
}
