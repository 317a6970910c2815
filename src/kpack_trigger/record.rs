//! What is told of a build beside its version, and the files that a get writes. Pure.

use serde_json::Value;

use super::Version;
use crate::concourse::Field;
use crate::kpack::{Build, State};
use crate::probe;

/// How many buildpacks are named in one field.
const BUILDPACKS: usize = 12;

/// Returns what people see beside the version.
#[must_use]
pub fn fields(build: &Build, link: &str) -> Vec<Field> {
    let whys = build.why();
    let buildpacks: Vec<String> =
        build.buildpacks.iter().take(BUILDPACKS).map(|it| format!("{} {}", it.id, it.version)).collect();
    let rows = [
        ("build", Some(format!("{} ({})", build.number_text(), build.name))),
        ("commit", build.origin.commit.clone()),
        ("source", build.origin.place.as_deref().map(without_secrets)),
        ("buildpacks", Some(buildpacks.join(", ")).filter(|all| !all.is_empty())),
        ("run image", build.run_image.clone()),
        ("duration", build.seconds().map(|seconds| format!("{seconds} s"))),
        ("link", Some(link.to_owned()).filter(|link| !link.is_empty())),
    ];
    let (first, rest) = rows.split_first().expect("there is a first row");
    let reasons = whys.into_iter().map(|why| ("reason", Some(why)));
    let rows = std::iter::once(first.clone()).chain(reasons).chain(rest.iter().cloned());
    rows.filter_map(|(name, value)| Some(Field { name: name.to_owned(), value: value? })).collect()
}

/// Returns the same, with how it stands before it where that is no success.
#[must_use]
pub fn told(build: &Build, link: &str) -> Vec<Field> {
    let field = |name: &str, value: &str| Field { name: name.to_owned(), value: value.to_owned() };
    let mut rows = Vec::new();
    if build.state != State::Succeeded {
        rows.push(field("status", build.state.word()));
        let message = build.condition.words();
        rows.extend((!message.is_empty()).then(|| field("message", &message)));
    }
    rows.extend(fields(build, link));
    rows
}

/// Returns what is told of a build that the cluster has forgotten.
#[must_use]
pub fn forgotten(version: &Version) -> Vec<Field> {
    let field = |name: &str, value: &str| Field { name: name.to_owned(), value: value.to_owned() };
    vec![field("build", &version.build), field("note", "kpack has pruned this build: no more is known of it")]
}

/// Returns the files of a build, by name; no value ends with a line break.
#[must_use]
pub fn files(
    version: &Version,
    build: Option<&Build>,
    object: Option<&Value>,
) -> Vec<(&'static str, String)> {
    let (repository, digest) = version.image.rsplit_once('@').unwrap_or_default();
    let image = !version.image.is_empty();
    let of = |read: &dyn Fn(&Build) -> Option<String>| build.and_then(read);
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("a JSON value serialises");
    let changes = |build: &Build| {
        let changes = serde_json::to_value(&build.changes).expect("changes serialise");
        Some(pretty(&changes))
    };
    let number = |build: &Build| build.number.map(|number| number.to_string());
    let rows = [
        ("image", image.then(|| version.image.clone())),
        ("repository", image.then(|| repository.to_owned())),
        ("digest", image.then(|| digest.to_owned())),
        ("tag", image.then(|| of(&Build::tag)).flatten()),
        ("build-number", of(&number).or_else(|| Some(version.build.clone()))),
        ("build-name", of(&|build| Some(build.name.clone()))),
        ("status", of(&|build| Some(build.state.word().to_owned()))),
        ("reason", of(&|build| Some(build.reasons.join(",")))),
        ("changes.json", of(&changes)),
        ("commit", of(&|build| build.origin.commit.clone())),
        ("build.json", object.map(pretty)),
    ];
    rows.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

/// A URL may hold a password, or be signed; what is none is a path or an image, with its digest.
fn without_secrets(place: &str) -> String {
    if place.contains("://") { probe::shown(place) } else { place.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kpack::fixtures::{mk_build, mk_failed};

    #[test]
    fn the_files_name_the_image_as_a_rollout_takes_it() {
        let build = mk_build(4);
        let files = files(&Version::of(&build), Some(&build), Some(&serde_json::json!({"a": 1})));
        let of = |name: &str| files.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str());
        let image = build.image.as_ref().unwrap();
        assert_eq!(of("image"), Some(image.to_string().as_str()));
        assert_eq!(of("repository"), Some("r.example/app"));
        assert_eq!(of("digest"), Some(image.digest.as_str()));
        assert_eq!(
            (of("build-number"), of("tag"), of("reason"), of("status")),
            (Some("4"), Some("latest"), Some("TRIGGER"), Some("succeeded"))
        );
        assert_eq!(of("build.json"), Some("{\n  \"a\": 1\n}"));
    }

    #[test]
    fn a_build_that_failed_is_told_so_first() {
        let fields = told(&mk_failed(4), "");
        let rows: Vec<(&str, &str)> =
            fields.iter().take(2).map(|it| (it.name.as_str(), it.value.as_str())).collect();
        assert_eq!(rows, [("status", "failed"), ("message", "Failed: no")]);
        assert_eq!(told(&mk_build(4), ""), super::fields(&mk_build(4), ""));
    }

    #[test]
    fn a_forgotten_build_still_has_its_image_and_number() {
        let version = Version::of(&mk_build(4));
        let names: Vec<&str> = files(&version, None, None).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["image", "repository", "digest", "build-number"]);
        let failed = Version { image: String::new(), ..version };
        assert_eq!(files(&failed, None, None).len(), 1);
    }

    #[test]
    fn fields_tell_every_reason_and_no_password() {
        let mut build = mk_build(4);
        build.origin.place = Some("https://me:hunter2@git.example/app.git".to_owned());
        let signed = "https://me:hunter2@blobs.example/app.zip?X-Signature=hunter2";
        assert_eq!(without_secrets(signed), "https://blobs.example/app.zip");
        let fields = fields(&build, "");
        let of =
            |name: &str| fields.iter().find(|field| field.name == name).map(|field| field.value.as_str());
        assert_eq!(of("build"), Some("4 (app-build-4)"));
        assert_eq!(of("source"), Some("https://git.example/app.git"));
        assert_eq!(of("reason"), Some("triggered on Mon"));
        assert_eq!(of("duration"), Some("10 s"));
        assert_eq!(of("link"), None);
    }
}
