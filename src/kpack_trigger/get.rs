//! get: what one build was, as files that a task can read and a rollout can be given as `image`.

use std::fs;
use std::io::Write;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::driver::log::Written;
use super::driver::{Place, steady};
use super::{Source, Version, Wrong, record};
use crate::cluster;
use crate::concourse::{Context, Response};
use crate::failure::Failure;
use crate::kpack::{Build, State};

/// What to fetch beside what is always written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GetParams {
    /// Write the build's log into the file `log`, as long as its pod is there. Default: false.
    #[serde(deserialize_with = "cluster::flag")]
    #[schemars(schema_with = "cluster::flag_schema")]
    pub log: bool,
}

/// Finds what the cluster still knows of `version` and writes it down.
pub(super) async fn run(
    source: &Source,
    version: Version,
    params: GetParams,
    context: &Context,
) -> Result<Response<Version>, Failure> {
    source.inspect()?;
    inspect(&version)?;
    let place = Place::find(&source.target(), &context.interrupted).await?;
    let (build, object) = match steady(async || place.build(&version).await).await? {
        Some((build, object)) => (Some(build), Some(object)),
        None => (None, None),
    };
    let Some(build) = build else {
        context.log.line(format!("build {} is gone from the cluster: its files say less", version.build));
        write(&context.directory, record::files(&version, None, None))?;
        let metadata = record::forgotten(&version);
        return Ok(Response { version, metadata });
    };
    // A version that was made before the build had its verdict gets what there is by now.
    let known = if version.image.is_empty() { Version::of(&build) } else { version.clone() };
    match build.state {
        State::Running => {
            context.log.line(format!("build {} still runs: there is no image yet", version.build));
        }
        State::Failed => {
            let why = build.condition.words();
            context.log.line(format!("build {} failed, and there is no image: {why}", version.build));
        }
        State::Succeeded => {}
    }
    write(&context.directory, record::files(&known, Some(&build), object.as_ref()))?;
    if params.log {
        write_log(&place, &build, context).await?;
    }
    let metadata = record::told(&build, &place.link(&build));
    Ok(Response { version, metadata })
}

fn inspect(version: &Version) -> Result<(), Wrong> {
    let wrong = |key, value: &str| Wrong::Version { key, value: value.to_owned() };
    if !version.build.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("build", &version.build));
    }
    let is_image = |image: &str| {
        image.rsplit_once('@').is_some_and(|(_, digest)| digest.parse::<crate::image::Digest>().is_ok())
    };
    if version.image.is_empty() && version.uid.is_empty()
        || !version.image.is_empty() && !is_image(&version.image)
    {
        return Err(wrong("image", &version.image));
    }
    Ok(())
}

fn write(directory: &Path, files: Vec<(&'static str, String)>) -> Result<(), Wrong> {
    files.into_iter().try_for_each(|(name, text)| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|source| Wrong::Write { path, source })
    })
}

async fn write_log(place: &Place, build: &Build, context: &Context) -> Result<(), Wrong> {
    let path = context.directory.join("log");
    let refused = |source| Wrong::Write { path: path.clone(), source };
    let mut file = std::io::BufWriter::new(fs::File::create(&path).map_err(refused)?);
    let mut broken = Ok(());
    let written = {
        let mut sink = |line: &str| {
            if broken.is_ok() {
                broken = writeln!(file, "{line}");
            }
        };
        place.write_log(build, &mut sink).await
    };
    broken.and_then(|()| file.flush()).map_err(refused)?;
    match written {
        Written::All => {}
        Written::NoPod => {
            context.log.line("the build's pod is gone, and its log with it: the file `log` is empty");
        }
        Written::Denied => {
            context.log.line("these credentials may not read logs (pods/log): the file `log` is empty");
        }
        Written::Broken(why) => {
            context.log.line(format!("the file `log` ends early, for the log cannot be read: {why}"));
        }
    }
    Ok(())
}
