//! What resource/image-digest says about the type is what the type reads: schemas, examples, README.

use std::fs;

use rollway::concourse::Request;
use rollway::image_digest::{GetParams, PutParams, Source, Version};

use crate::support::papers::Papers;

fn papers() -> Papers {
    Papers::of::<Source, GetParams, PutParams, Version>("image-digest")
}

#[test]
fn schemas_are_those_of_the_types() {
    papers().assert_schemas();
}

#[test]
fn readme_explains_every_key() {
    papers().assert_readme();
}

#[test]
fn examples_are_requests_that_the_type_reads() {
    let folder = papers().examples();
    let examples = ["check", "check-first", "check-versions", "check-builds", "in", "out", "out-promote"];
    for name in examples {
        let text = fs::read(folder.join(format!("{name}.json"))).unwrap();
        let request = Request::parse(&text).unwrap();
        request.source::<Source>().unwrap_or_else(|error| panic!("{name}: {error}"));
        if name.starts_with("out") {
            request.params::<PutParams>().unwrap_or_else(|error| panic!("{name}: {error}"));
        } else {
            request.params::<GetParams>().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let version = request.cursor::<Version>().unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_without = matches!(name, "check-first" | "check-builds" | "out" | "out-promote");
        assert_eq!(version.is_none(), is_without, "{name}");
    }
    assert_eq!(fs::read_dir(folder).unwrap().count(), examples.len());
}
