use serde_json::json;

use super::*;

fn refusal(step: &Value) -> String {
    let pipeline = json!({
        "resources": [{"name": "image", "type": "t"}, {"name": "other", "type": "t"}],
        "jobs": [{"name": "build", "plan": [{"get": "other"}]}, {"name": "deploy", "plan": [step]}],
    });
    Config::parse(&pipeline).unwrap_err().to_string()
}

#[test]
fn wrong_steps_are_named() {
    for (step, message) in [
        (
            json!({"get": "image", "triger": true}),
            "step `get: image` in job `deploy`: unknown key `triger`; did you mean `trigger`?",
        ),
        (
            json!({"get": "image", "trigger": "yes"}),
            "step `get: image` in job `deploy`: `trigger` is not true or false",
        ),
        (json!({"get": "imag"}), "step `get: imag` in job `deploy`: there is no resource `imag`"),
        (json!({"put": "imag"}), "step `put: imag` in job `deploy`: there is no resource `imag`"),
        (
            json!({"get": "image", "passed": ["test"]}),
            "step `get: image` in job `deploy`: there is no job `test` to pass",
        ),
        (
            json!({"get": "image", "passed": ["build"]}),
            "step `get: image` in job `deploy`: job `build` neither gets nor puts `image`",
        ),
        (
            json!({"get": "image", "version": "newest"}),
            "step `get: image` in job `deploy`: `version` is not `latest`, `every` or a version",
        ),
        (
            json!({"put": "image", "timeout": "10"}),
            "step `put: image` in job `deploy`: `timeout` is not a duration such as 1m30s",
        ),
        (
            json!({"put": "image", "attempts": 0}),
            "step `put: image` in job `deploy`: `attempts` is not a number of tries, 1 or more",
        ),
        (
            json!({"put": "image", "inputs": "some"}),
            "step `put: image` in job `deploy`: `inputs` is not `detect`, `all` or a list of artifacts",
        ),
        (
            json!({"get": "image", "put": "image"}),
            "a step in job `deploy`: it is several kinds of step at once",
        ),
        (
            json!({"fetch": "image"}),
            "a step in job `deploy`: it has none of the keys that name a kind of step (get, put, in_parallel, do, try)",
        ),
        (json!("image"), "a step in job `deploy`: it is not a map"),
        (
            json!({"in_parallel": {"step": []}}),
            "step `in_parallel` in job `deploy`: unknown key `step`; did you mean `steps`?",
        ),
        (
            json!({"do": [{"get": "image"}, {"get": "image"}]}),
            "step `get: image` in job `deploy`: another get has the same name",
        ),
    ] {
        assert_eq!(refusal(&step), message);
    }
}

#[test]
fn all_steps_that_cannot_run_here_are_named_together() {
    let step = json!({
        "in_parallel": [{"task": "unit", "file": "x"}, {"get": "image"}],
        "on_failure": {"try": {"set_pipeline": "self"}},
        "ensure": {"load_var": "v"},
    });
    assert_eq!(
        refusal(&step),
        "step `task: unit` in job `deploy`, step `set_pipeline: self` in job `deploy`, \
         step `load_var: v` in job `deploy` cannot be run here"
    );
}

#[test]
fn wrong_tops_are_named() {
    for (pipeline, message) in [
        (json!([]), "the pipeline: it is not a map"),
        (json!({"job": []}), "the pipeline: unknown key `job`; did you mean `jobs`?"),
        (json!({"resources": [{"type": "t"}]}), "a resource or resource type: `name` is missing"),
        (json!({"resources": [{"name": "a"}]}), "resource `a`: `type` is missing"),
        (
            json!({"resources": [{"name": "a", "type": "t", "sauce": 1}]}),
            "resource `a`: unknown key `sauce`; did you mean `source`?",
        ),
        (
            json!({"resources": [{"name": "a", "type": "t"}, {"name": "a", "type": "t"}]}),
            "`a`: there are two of this name",
        ),
        (
            json!({"resources": [{"name": "a", "type": "t", "check_every": "often"}]}),
            "resource `a`: `check_every` is not a duration such as 1m30s, or `never`",
        ),
        (
            json!({"jobs": [{"name": "a", "plan": []}, {"name": "a", "plan": []}]}),
            "job `a`: there are two of this name",
        ),
    ] {
        assert_eq!(Config::parse(&pipeline).unwrap_err().to_string(), message);
    }
}

#[test]
fn type_defaults_are_under_the_resources_own_source() {
    let config = Config::parse(&json!({
        "resource_types": [{"name": "t", "type": "registry-image", "source": {}, "defaults": {"a": 1, "b": 1}}],
        "resources": [{"name": "r", "type": "t", "source": {"b": 2}, "icon": "docker", "check_every": "never"}],
    }))
    .unwrap();
    let resource = &config.resources["r"];
    assert_eq!(Value::Object(resource.source.clone()), json!({"a": 1, "b": 2}));
    assert_eq!(resource.check_every, CheckEvery::Never);
}

#[test]
fn top_may_hold_anchors() {
    assert!(Config::parse(&json!({"x-common": {"a": 1}, "jobs": []})).is_ok());
}

#[test]
fn gets_in_hooks_are_inputs_too() {
    let config = Config::parse(&json!({
        "resources": [{"name": "a", "type": "t"}, {"name": "b", "type": "t"}],
        "jobs": [{
            "name": "j",
            "plan": [{"try": {"in_parallel": [{"get": "a"}]}}],
            "on_failure": {"do": [{"get": "b"}, {"put": "a"}]},
        }],
    }))
    .unwrap();
    let job = config.job("j").unwrap();
    assert_eq!(job.gets().iter().map(|get| get.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(job.puts().len(), 1);
}
