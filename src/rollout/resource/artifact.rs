//! Which image a put is about: the files of an earlier get, or a reference in the params. The answer
//! is always a digest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::{Error, PutParams};
use crate::image::{Digest, Pinned};
use crate::registry;

/// No file that names an image is longer.
const LONGEST: u64 = 4096;

/// An image, and the tag under which somebody saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Artifact {
    pub(super) image: Pinned,
    pub(super) tag: Option<String>,
}

/// The image of the first container, and those of containers that get another one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Artifacts {
    pub(super) first: Artifact,
    pub(super) others: BTreeMap<String, Pinned>,
}

/// Returns the images that the params name for the containers of the source: the one of `image` or
/// `reference`, but for the containers that have their own.
pub(super) fn of(params: &PutParams, containers: &[String], directory: &Path) -> Result<Artifacts, Error> {
    let usual = match (&params.image, &params.reference) {
        (Some(_), Some(_)) => return Err(Error::TwoImages),
        (None, None) => None,
        (Some(image), None) => Some(in_directory(directory, "image", image)?),
        (None, Some(reference)) => Some(in_reference("reference", reference)?),
    };
    if params.containers.is_empty() {
        return Ok(Artifacts { first: usual.ok_or(Error::NoImage)?, others: BTreeMap::new() });
    }
    let first = containers.first().ok_or(Error::NoFirst)?;
    if let Some(name) = params.containers.keys().find(|name| !containers.contains(name)) {
        return Err(Error::NotRolled { name: name.clone() });
    }
    let of = |name: &String| match (params.containers.get(name), &usual) {
        (Some(given), _) => either(directory, &format!("containers.{name}"), given),
        (None, Some(usual)) => Ok(usual.clone()),
        (None, None) => Err(Error::NoImageFor { name: name.clone() }),
    };
    let others = containers.iter().skip(1).map(|name| Ok((name.clone(), of(name)?.image)));
    Ok(Artifacts { first: of(first)?, others: others.collect::<Result<_, Error>>()? })
}

/// Reads what may be a reference or a directory: no directory of a step has an `@` or a `:`.
fn either(directory: &Path, key: &str, given: &str) -> Result<Artifact, Error> {
    if given.contains(['@', ':']) { in_reference(key, given) } else { in_directory(directory, key, given) }
}

fn in_directory(base: &Path, key: &str, given: &str) -> Result<Artifact, Error> {
    let directory = resolve(base, key, given)?;
    let tag = read(&directory, "tag").ok().filter(|tag| is_tag(tag));
    let digest_file = directory.join("digest");
    if !digest_file.exists() && directory.join("image").exists() {
        let text = read(&directory, "image")?;
        let place = format!("`{given}/image`");
        return pinned(&text)
            .map(|artifact| Artifact { tag: tag.or(artifact.tag), ..artifact })
            .ok_or(malformed(place, &text, "REPOSITORY@sha256:…"));
    }
    let digest = read(&directory, "digest")?;
    let repository = read(&directory, "repository")?;
    let digest = digest.parse().map_err(|_| {
        malformed(format!("`{given}/digest`"), &digest, "a digest (sha256: and 64 hex digits)")
    })?;
    if !is_repository(&repository) {
        return Err(malformed(format!("`{given}/repository`"), &repository, "a repository without tag"));
    }
    Ok(Artifact { image: Pinned { repository, digest }, tag })
}

fn in_reference(key: &str, text: &str) -> Result<Artifact, Error> {
    let text = text.trim();
    if !text.contains('@') {
        return Err(Error::Unpinned { key: key.to_owned(), value: shown(text) });
    }
    let place = || format!("`params.{key}`");
    pinned(text).ok_or_else(|| malformed(place(), text, "REPOSITORY@sha256: and 64 hex digits"))
}

/// Finds the directory without leaving the step's own, by `..`, by `/` or by a link.
fn resolve(base: &Path, key: &str, given: &str) -> Result<PathBuf, Error> {
    let outside = || Error::Outside { key: key.to_owned(), path: given.to_owned() };
    let path = Path::new(given);
    if path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(outside());
    }
    let missing = |known| Error::NoDirectory { key: key.to_owned(), path: given.to_owned(), known };
    let found = base.join(path).canonicalize().ok().filter(|found| found.is_dir());
    let found = found.ok_or_else(|| missing(folders(base)))?;
    let inside = base.canonicalize().is_ok_and(|base| found.starts_with(base));
    if inside { Ok(found) } else { Err(outside()) }
}

fn folders(base: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn read(directory: &Path, name: &str) -> Result<String, Error> {
    let path = directory.join(name);
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(source) => Err(Error::NoFile { path, source }),
    }
}

/// Takes `repository[:tag]@digest` apart.
fn pinned(text: &str) -> Option<Artifact> {
    let (name, digest) = text.rsplit_once('@')?;
    let digest: Digest = digest.parse().ok()?;
    let (repository, tag) = registry::split(name);
    let is_good = is_repository(repository) && tag.is_none_or(is_tag);
    let image = Pinned { repository: repository.to_owned(), digest };
    is_good.then(|| Artifact { image, tag: tag.map(str::to_owned) })
}

fn is_repository(text: &str) -> bool {
    let last = text.rsplit('/').next().unwrap_or_default();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:[]".contains(&byte);
    let has_parts = text.split('/').all(|part| !part.is_empty());
    !last.contains(':') && has_parts && text.bytes().all(is_allowed)
}

fn is_tag(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn malformed(place: String, value: &str, wanted: &'static str) -> Error {
    Error::Malformed { place, value: shown(value), wanted }
}

/// Keeps a wrong file from filling the log, and credentials in a name out of it.
fn shown(value: &str) -> String {
    let first = value.lines().next().unwrap_or_default();
    let line = registry::without_userinfo(first);
    let cut: String = line.chars().take(100).collect();
    if cut.len() < line.len() || first.len() < value.len() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Explain;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn step(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    fn image(directory: &tempfile::TempDir, given: &str) -> Result<Artifact, Error> {
        let params = PutParams { image: Some(given.to_owned()), ..PutParams::default() };
        of(&params, &[], directory.path()).map(|all| all.first)
    }

    fn reference(text: &str) -> Result<Artifact, Error> {
        let params = PutParams { reference: Some(text.to_owned()), ..PutParams::default() };
        of(&params, &[], Path::new("/nowhere")).map(|all| all.first)
    }

    #[test]
    fn directory_of_a_get_names_the_image_by_digest_and_remembers_the_tag() {
        let digest = format!("{DIGEST}\n");
        let step =
            step(&[("app/repository", "r.example:5000/app"), ("app/digest", &digest), ("app/tag", "latest")]);
        let artifact = image(&step, "app").unwrap();
        assert_eq!(artifact.image.to_string(), format!("r.example:5000/app@{DIGEST}"));
        assert_eq!(artifact.tag.as_deref(), Some("latest"));
    }

    #[test]
    fn image_file_alone_is_enough() {
        let step = step(&[("app/image", &format!("r.example/app@{DIGEST}"))]);
        assert_eq!(image(&step, "./app/").unwrap().image.repository, "r.example/app");
    }

    #[test]
    fn path_cannot_leave_the_step() {
        let step = step(&[("in/app/digest", DIGEST), ("app/digest", DIGEST)]);
        let inner = step.path().join("in");
        std::os::unix::fs::symlink(step.path().join("app"), inner.join("link")).unwrap();
        for given in ["../app", "/etc", "app/../../app", "link"] {
            let params = PutParams { image: Some(given.to_owned()), ..PutParams::default() };
            assert!(matches!(of(&params, &[], &inner), Err(Error::Outside { .. })), "{given}");
        }
    }

    #[test]
    fn directory_that_is_not_there_lists_those_that_are() {
        let step = step(&[("image/digest", DIGEST), ("source/a", "")]);
        let error = image(&step, "imgae").unwrap_err();
        assert_eq!(error.hint().unwrap(), "the step has: image, source");
    }

    #[test]
    fn missing_or_wrong_file_is_named() {
        let directory = step(&[("a/digest", DIGEST), ("b/repository", "r/b"), ("c/digest", "latest")]);
        for (given, words) in [("a", "a/repository` cannot be read"), ("b", "b/digest` cannot be read")] {
            let error = image(&directory, given).unwrap_err().to_string();
            assert!(error.ends_with(words), "{error}");
        }
        std::fs::write(directory.path().join("c/repository"), "r/c").unwrap();
        let error = image(&directory, "c").unwrap_err().to_string();
        assert_eq!(error, "`c/digest` is `latest`, which is not a digest (sha256: and 64 hex digits)");
    }

    #[test]
    fn reference_must_name_a_digest() {
        let artifact = reference(&format!("r.example:5000/app:v1@{DIGEST}")).unwrap();
        assert_eq!(artifact.image.to_string(), format!("r.example:5000/app@{DIGEST}"));
        assert_eq!(artifact.tag.as_deref(), Some("v1"));
        assert!(matches!(reference("r.example/app:latest"), Err(Error::Unpinned { .. })));
        for bad in
            ["r/app@latest", "r/app@sha256:12", &format!("@{DIGEST}"), &format!("https://r/app@{DIGEST}")]
        {
            assert!(matches!(reference(bad), Err(Error::Malformed { .. })), "{bad}");
        }
    }

    #[test]
    fn exactly_one_image_is_asked_for() {
        assert!(matches!(of(&PutParams::default(), &[], Path::new("/")), Err(Error::NoImage)));
        let both = PutParams {
            image: Some("a".to_owned()),
            reference: Some("b".to_owned()),
            ..PutParams::default()
        };
        assert!(matches!(of(&both, &[], Path::new("/")), Err(Error::TwoImages)));
    }

    fn per_container(own: &[(&str, &str)], usual: Option<&str>, rolled: &[&str]) -> Result<Artifacts, Error> {
        let params = PutParams {
            reference: usual.map(str::to_owned),
            containers: own.iter().map(|(name, given)| ((*name).to_owned(), (*given).to_owned())).collect(),
            ..PutParams::default()
        };
        let rolled: Vec<String> = rolled.iter().map(|name| (*name).to_owned()).collect();
        of(&params, &rolled, Path::new("/nowhere"))
    }

    #[test]
    fn each_container_gets_its_own_image_or_the_usual_one() {
        let [app, proxy] = ["r/app", "r/proxy"].map(|name| format!("{name}@{DIGEST}"));
        let all = per_container(&[("proxy", &proxy)], Some(&app), &["app", "proxy", "migrate"]).unwrap();
        assert_eq!(all.first.image.to_string(), app);
        let others: Vec<String> = all.others.iter().map(|(name, image)| format!("{name} {image}")).collect();
        assert_eq!(others, [format!("migrate {app}"), format!("proxy {proxy}")]);
        let all = per_container(&[("app", &app), ("proxy", &proxy)], None, &["app", "proxy"]).unwrap();
        assert_eq!((all.first.image.to_string(), all.others["proxy"].to_string()), (app, proxy));
    }

    #[test]
    fn a_container_without_an_image_or_without_a_place_is_refused() {
        let app = format!("r/app@{DIGEST}");
        assert!(matches!(per_container(&[("app", &app)], None, &[]), Err(Error::NoFirst)));
        let missing = per_container(&[("app", &app)], None, &["app", "proxy"]).unwrap_err();
        assert_eq!(missing.to_string(), "`params` names no image for the container `proxy`");
        let unknown = per_container(&[("web", &app)], Some(&app), &["app"]).unwrap_err();
        assert_eq!(unknown.to_string(), "`params.containers` names `web`, which `source.container` does not");
        let tag = per_container(&[("app", "r/app:latest")], None, &["app"]).unwrap_err();
        assert_eq!(tag.to_string(), "`params.containers.app` is `r/app:latest`, which names no digest");
    }

    #[test]
    fn credentials_in_a_name_are_not_repeated() {
        let secret = "https://me:CANARY@r.example/app";
        let step = step(&[("a/digest", DIGEST), ("a/repository", secret), ("b/image", secret)]);
        let given = [
            image(&step, "a"),
            image(&step, "b"),
            reference(&format!("{secret}@{DIGEST}")),
            reference("me:CANARY@r.example/app:1"),
            reference("https://me:CANARY@r.example/app"),
        ];
        for given in given {
            let error = given.unwrap_err().to_string();
            assert!(error.contains("r.example/app") && !error.contains("CANARY"), "{error}");
        }
    }
}
