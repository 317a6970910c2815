//! get: what ran when, as files that a task can read and another rollout can be given as `image`.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::record::Record;
use super::{Error, Source, Version};
use crate::concourse::{Context, Response};
use crate::failure::Failure;
use crate::rollout::observe::Snapshot;
use crate::rollout::{driver, several};

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
    let targets = source.targets(&cluster).await?;
    let mut looks = Vec::new();
    for target in &targets {
        looks.push((target.name.clone(), driver::look(&cluster, target).await?));
    }
    let records = records(&looks, &version);
    let Some(first) = records.first() else {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let deployment = format!("{}/{}", cluster.namespace, names.join(", "));
        return Err(Error::Forgotten { digest: version.digest.to_string(), deployment }.into());
    };
    for record in records.iter().filter(|record| record.build.is_none() && !record.current) {
        context
            .log
            .line(format!("revision {} is gone from the cluster: its files say less", record.revision));
    }
    let document = match records.as_slice() {
        [one] => serde_json::to_string_pretty(one),
        all => serde_json::to_string_pretty(&serde_json::json!({
            "image": first.image, "digest": first.digest, "revision": version.revision, "uid": version.uid,
            "workloads": all,
        })),
    };
    let document = document.expect("strings and numbers serialise");
    write(&context.directory, first, &version, &document)?;
    let metadata = match records.as_slice() {
        [one] => one.fields(),
        all => all.iter().flat_map(Record::fields).collect(),
    };
    Ok(Response { version, metadata })
}

/// Returns what is known of each workload in `version`. Of several, the version has the revision of each
/// and one uid for all: when that is another one now, none of them is what it was.
fn records(looks: &[(String, Snapshot)], version: &Version) -> Vec<Record> {
    if let [(_, look)] = looks {
        return Record::of(look, version).into_iter().collect();
    }
    let uids = looks.iter().map(|(name, look)| (name.clone(), look.uid().to_owned()));
    let is_same = several::uid(uids.collect()) == version.uid;
    let of = |(name, look): &(String, Snapshot)| {
        let revision = several::revision_of(&version.revision, name).unwrap_or_default().to_owned();
        let uid = if is_same { look.uid().to_owned() } else { String::new() };
        Record::of(look, &Version { digest: version.digest.clone(), revision, uid })
    };
    looks.iter().filter_map(of).collect()
}

/// Writes the files; no value ends with a line break, so that a shell's `$(cat file)` is not needed.
fn write(directory: &Path, record: &Record, version: &Version, document: &String) -> Result<(), Error> {
    let files = [
        ("repository", Some(&record.repository)),
        ("digest", Some(&record.digest)),
        ("tag", record.tag.as_ref()),
        ("image", Some(&record.image)),
        ("revision", Some(&version.revision)),
        ("uid", Some(&version.uid)),
        ("rollout.json", Some(document)),
    ];
    files.into_iter().filter_map(|(name, text)| Some((name, text?))).try_for_each(|(name, text)| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|source| Error::Write { path, source })
    })
}
