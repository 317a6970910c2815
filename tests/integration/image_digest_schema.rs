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
    papers().assert_readme_of_objects();
}

#[test]
fn every_key_is_in_an_example() {
    papers().assert_examples_have_every_key();
}

#[test]
fn examples_are_requests_that_the_type_reads() {
    let folder = papers().examples();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read(&path).unwrap();
        let request = Request::parse(&text).unwrap();
        request.source::<Source>().unwrap_or_else(|error| panic!("{name}: {error}"));
        if name.starts_with("out") {
            request.params::<PutParams>().unwrap_or_else(|error| panic!("{name}: {error}"));
        } else {
            request.params::<GetParams>().unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let version = request.cursor::<Version>().unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_with = matches!(name, "check" | "check-versions") || name.starts_with("in");
        assert_eq!(version.is_some(), is_with, "{name}");
    }
}
