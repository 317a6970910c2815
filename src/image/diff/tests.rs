use serde_json::{Value, json};

use super::*;

fn digest(letter: char) -> Digest {
    format!("sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

/// An image, owned: what a registry would say about it.
struct Image {
    digest: Digest,
    config: Config,
    layers: Vec<(Digest, u64)>,
}

impl Image {
    fn side(&self) -> Side<'_> {
        Side { digest: &self.digest, config: &self.config, layers: &self.layers }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn label(&mut self, key: &str, value: &Value) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.config.labels.insert(key.to_owned(), text);
    }
}

/// Layers are told by letters; each has a megabyte.
fn mk_layers(letters: &str) -> Vec<(Digest, u64)> {
    letters.chars().map(|letter| (digest(letter), 1_000_000)).collect()
}

fn mk_plain(name: char, layers: &str) -> Image {
    Image { digest: digest(name), config: Config::default(), layers: mk_layers(layers) }
}

/// An image that buildpacks made: run image, Java, commit, application.
fn mk_built(name: char, layers: &str, run: &str, java: &str, app: &str) -> Image {
    mk_plain(name, layers).with(|image| {
        image.label(
            "io.buildpacks.build.metadata",
            &json!({"buildpacks": [{"id": "acme/java", "version": "9.1"}]}),
        );
        image.label(
            "io.buildpacks.lifecycle.metadata",
            &json!({
                "app": [{"sha": format!("sha256:{app}")}],
                "runImage": {"topLayer": "x", "reference": format!("lab/run@sha256:{}", run.repeat(64))},
                "stack": {"runImage": {"image": format!("lab/run:0.2.3{run}")}},
                "buildpacks": [{"key": "acme/java", "layers": {"jre": {"data": {"version": java}}}}],
            }),
        );
    })
}

fn diff(old: &Image, new: &Image) -> Diff {
    Diff::between(&old.side(), &new.side())
}

#[test]
fn a_rebase_moves_the_run_image_and_nothing_else() {
    let (old, new) = (mk_built('0', "abcd", "1", "21.0.4", "p"), mk_built('1', "efcd", "2", "21.0.4", "p"));
    let diff = diff(&old, &new);
    assert_eq!(diff.kind, Kind::Rebase);
    assert_eq!(
        diff.to_string(),
        "only the run image moved: run image lab/run 0.2.31 → 0.2.32, java 21.0.4 unchanged; \
         2.0 MB to pull, 2 of 4 layers"
    );
}

#[test]
fn run_images_of_one_name_are_told_apart_by_digest() {
    let (old, new) = (mk_built('0', "ac", "1", "21", "p"), mk_built('1', "bc", "2", "21", "p"));
    let names = |image: Image| {
        image.with(|image| {
            for label in image.config.labels.values_mut() {
                *label =
                    label.replace("lab/run:0.2.31", "lab/run:base").replace("lab/run:0.2.32", "lab/run:base");
            }
        })
    };
    let diff = diff(&names(old), &names(new));
    let words = "run image lab/run sha256:111111111111 → sha256:222222222222";
    assert!(diff.headline().contains(words), "{diff}");
}

#[test]
fn a_new_java_under_the_same_application_is_the_buildpacks() {
    let (old, new) = (mk_built('0', "abcd", "1", "21.0.4", "p"), mk_built('1', "aecd", "1", "21.0.5", "p"));
    let diff = diff(&old, &new);
    assert_eq!(diff.kind, Kind::Buildpacks);
    assert!(
        diff.headline().contains("did not: java 21.0.4 → 21.0.5; 1.0 MB to pull, 1 of 4 layers"),
        "{diff}"
    );
}

#[test]
fn another_application_is_an_application_change_whatever_else_moved() {
    let (old, new) = (mk_built('0', "abcd", "1", "21.0.4", "p"), mk_built('1', "efc9", "2", "21.0.5", "q"));
    let new = new.with(|image| image.label("org.opencontainers.image.revision", &json!("c0ffee")));
    let diff = diff(&old, &new);
    assert_eq!(diff.kind, Kind::App);
    let words = "run image lab/run 0.2.31 → 0.2.32, java 21.0.4 → 21.0.5, commit c0ffee is new";
    assert!(diff.headline().contains(words), "{diff}");
}

#[test]
fn labels_without_the_applications_layers_leave_the_top_layer_to_tell() {
    let bare = |name, layers, java: &str| {
        mk_plain(name, layers).with(|image| {
            let bom = json!([{"name": "openjdk-jre", "metadata": {"version": java}}]);
            image.label("io.buildpacks.build.metadata", &json!({ "bom": bom }));
        })
    };
    assert_eq!(diff(&bare('0', "abc", "11.0.5"), &bare('1', "aec", "11.0.6")).kind, Kind::Buildpacks);
    assert_eq!(diff(&bare('0', "abc", "11.0.5"), &bare('1', "abe", "11.0.5")).kind, Kind::App);
}

#[test]
fn images_that_no_buildpack_made_are_told_by_where_their_layers_differ() {
    assert_eq!(diff(&mk_plain('0', "abc"), &mk_plain('1', "efc")).kind, Kind::Rebase);
    assert_eq!(diff(&mk_plain('0', "abc"), &mk_plain('1', "abe")).kind, Kind::App);
    assert_eq!(diff(&mk_plain('0', "abc"), &mk_plain('1', "ef9")).kind, Kind::App);
    let newer = mk_plain('1', "efc").with(|image| {
        image.label("org.opencontainers.image.version", &json!("2"));
    });
    assert_eq!(diff(&mk_plain('0', "abc"), &newer).kind, Kind::App);
}

#[test]
fn the_same_layers_with_another_start_are_a_config_change() {
    let new = mk_plain('1', "ab").with(|image| {
        image.config.command = vec!["serve".to_owned()];
        image.config.user = "1000".to_owned();
        image.config.env = vec!["LANG=C".to_owned()];
    });
    let diff = diff(&mk_plain('0', "ab"), &new);
    assert_eq!(diff.kind, Kind::Config);
    assert_eq!(
        diff.to_string(),
        "only the config changed; nothing to pull\n  user 1000 is new\n  command serve is new\n  env LANG C is new"
    );
}

#[test]
fn nothing_differs_between_an_image_and_itself_or_its_copy() {
    for name in ['0', '1'] {
        let diff = diff(&mk_plain('0', "ab"), &mk_plain(name, "ab"));
        assert_eq!((diff.kind, diff.changes.len()), (Kind::Identical, 0));
        assert_eq!(diff.to_string(), "both are the same image");
    }
}

#[test]
fn values_that_may_be_secret_are_said_to_differ_and_not_shown() {
    let with = |value: &str| {
        mk_plain(value.chars().next().unwrap(), "a")
            .with(|image| image.config.env = vec![format!("DB_PASSWORD={value}"), format!("MODE={value}")])
    };
    let diff = diff(&with("0canary"), &with("1canary"));
    assert_eq!(
        diff.details().collect::<Vec<_>>(),
        ["env DB_PASSWORD *** → ***", "env MODE 0canary → 1canary"]
    );
    assert!(serde_json::to_string(&diff).unwrap().matches("canary").count() == 2);
}

#[test]
fn a_layer_that_is_there_twice_is_pulled_once() {
    let diff = diff(&mk_plain('0', "a"), &mk_plain('1', "abb"));
    assert_eq!(diff.pull, Pull { layers: 1, of: 3, bytes: 1_000_000 });
}

#[test]
fn sizes_are_written_as_people_say_them() {
    assert_eq!([0, 1_500, 14_200_000, 3_000_000_000].map(size), ["0 bytes", "1.5 kB", "14.2 MB", "3.0 GB"]);
}

#[test]
fn json_names_the_kind_as_people_do() {
    let value = serde_json::to_value(diff(&mk_plain('0', "ab"), &mk_plain('1', "eb"))).unwrap();
    assert_eq!(
        value,
        json!({"kind": "rebase only", "changes": [], "pull": {"layers": 1, "of": 2, "bytes": 1_000_000}})
    );
}
