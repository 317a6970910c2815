//! get: what ran when, as files that a task can read and another rollout can be given as `image`.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::record::Record;
use super::{Error, Source, Version};
use crate::concourse::{Context, Response};
use crate::failure::Failure;
use crate::rollout::driver;

/// A get has no params.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetParams {}

/// Finds what the cluster still knows of `version` and writes it down.
pub(super) async fn run(
    source: &Source,
    version: Version,
    context: &Context,
) -> Result<Response<Version>, Failure> {
    source.inspect()?;
    let cluster = source.connect().await?;
    let target = source.target(&cluster);
    let snapshot = driver::look(&cluster, &target).await?;
    let Some(record) = Record::of(&snapshot, &version) else {
        let deployment = format!("{}/{}", target.namespace, target.name);
        return Err(Error::Forgotten { digest: version.digest.to_string(), deployment }.into());
    };
    if record.build.is_none() && !record.current {
        context
            .log
            .line(format!("revision {} is gone from the cluster: its files say less", version.revision));
    }
    write(&context.directory, &record)?;
    Ok(Response { version, metadata: record.fields() })
}

/// Writes the files; no value ends with a line break, so that a shell's `$(cat file)` is not needed.
fn write(directory: &Path, record: &Record) -> Result<(), Error> {
    let document = serde_json::to_string_pretty(record).expect("strings and numbers serialise");
    let files = [
        ("repository", Some(&record.repository)),
        ("digest", Some(&record.digest)),
        ("tag", record.tag.as_ref()),
        ("image", Some(&record.image)),
        ("revision", Some(&record.revision)),
        ("uid", Some(&record.uid)),
        ("rollout.json", Some(&document)),
    ];
    files.into_iter().filter_map(|(name, text)| Some((name, text?))).try_for_each(|(name, text)| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|source| Error::Write { path, source })
    })
}
