//! What resource/rollout says about the type is what the type reads: schemas, examples, README.

use rollway::rollout::resource::{GetParams, PutParams, Source, Version};

use crate::support::papers::Papers;

fn papers() -> Papers {
    Papers::of::<Source, GetParams, PutParams, Version>("rollout")
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
    papers().assert_examples::<Source, PutParams, Version>();
}
