//! The build that runs a step, as Concourse's environment tells it. Docs say that a check has none
//! of it; the real one gets leftovers of `BUILD_*`, which say nothing true, so they are dropped.

use std::collections::BTreeMap;

use super::Build;

/// The environment as a map.
pub type Variables = BTreeMap<String, String>;

impl Build {
    /// Returns what `variables` tell about the build; empty strings where they tell nothing.
    #[must_use]
    pub fn from_variables(variables: &Variables) -> Self {
        let value = |name: &str| variables.get(name).map(String::as_str).unwrap_or_default();
        if value("BUILD_JOB_NAME").is_empty() && value("BUILD_NAME") == "check" {
            return Self::default();
        }
        Self { url: url(&value), label: label(&value) }
    }
}

/// Returns whether `variables` are those of a step that Concourse runs.
#[must_use]
pub fn is_concourse(variables: &Variables) -> bool {
    ["ATC_EXTERNAL_URL", "BUILD_NAME", "BUILD_TEAM_NAME", "BUILD_PIPELINE_NAME"]
        .iter()
        .any(|name| variables.get(*name).is_some_and(|value| !value.is_empty()))
}

fn url<'a>(value: &impl Fn(&str) -> &'a str) -> String {
    if !value("BUILD_URL").is_empty() {
        return value("BUILD_URL").to_owned();
    }
    let external = value("ATC_EXTERNAL_URL").trim_end_matches('/');
    let parts = ["BUILD_TEAM_NAME", "BUILD_PIPELINE_NAME", "BUILD_JOB_NAME", "BUILD_NAME"].map(value);
    // An instanced pipeline's long URL needs its variables; the short one finds every build.
    let is_instanced = !value("BUILD_PIPELINE_INSTANCE_VARS").is_empty();
    if !external.is_empty() && !is_instanced && parts.iter().all(|part| !part.is_empty()) {
        let [team, pipeline, job, name] = parts;
        return format!("{external}/teams/{team}/pipelines/{pipeline}/jobs/{job}/builds/{name}");
    }
    if !value("BUILD_URL_SHORT").is_empty() {
        return value("BUILD_URL_SHORT").to_owned();
    }
    match value("BUILD_ID") {
        id if !external.is_empty() && !id.is_empty() => format!("{external}/builds/{id}"),
        _ => String::new(),
    }
}

fn label<'a>(value: &impl Fn(&str) -> &'a str) -> String {
    let path: Vec<&str> = ["BUILD_TEAM_NAME", "BUILD_PIPELINE_NAME", "BUILD_JOB_NAME"]
        .into_iter()
        .map(value)
        .filter(|part| !part.is_empty())
        .collect();
    let path = path.join("/");
    match (path.is_empty(), value("BUILD_NAME")) {
        (_, "") => path,
        (true, name) => format!("#{name}"),
        (false, name) => format!("{path} #{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(pairs: &[(&str, &str)]) -> Build {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Build::from_variables(&pairs.collect())
    }

    #[test]
    fn build_url_wins_over_its_parts() {
        let build = build(&[
            ("BUILD_URL", "https://ci.example/b/9"),
            ("ATC_EXTERNAL_URL", "https://ci.example"),
            ("BUILD_TEAM_NAME", "main"),
            ("BUILD_PIPELINE_NAME", "app-foo"),
            ("BUILD_JOB_NAME", "deploy"),
            ("BUILD_NAME", "12"),
        ]);
        assert_eq!(build.url, "https://ci.example/b/9");
        assert_eq!(build.label, "main/app-foo/deploy #12");
    }

    #[test]
    fn url_is_put_together_where_it_is_missing() {
        let parts = [
            ("ATC_EXTERNAL_URL", "https://ci.example/"),
            ("BUILD_TEAM_NAME", "main"),
            ("BUILD_PIPELINE_NAME", "app-foo"),
            ("BUILD_JOB_NAME", "deploy"),
            ("BUILD_NAME", "12"),
            ("BUILD_ID", "77"),
        ];
        let long = "https://ci.example/teams/main/pipelines/app-foo/jobs/deploy/builds/12";
        assert_eq!(build(&parts).url, long);
        let instanced = [&parts[..], &[("BUILD_PIPELINE_INSTANCE_VARS", "{\"a\":1}")]].concat();
        assert_eq!(build(&instanced).url, "https://ci.example/builds/77");
    }

    #[test]
    fn check_has_no_build() {
        let leftovers = [("BUILD_NAME", "check"), ("BUILD_TEAM_NAME", "main"), ("BUILD_URL", "https://x/1")];
        assert_eq!(build(&leftovers), Build::default());
    }

    #[test]
    fn one_off_build_has_a_team_and_a_number() {
        assert_eq!(build(&[("BUILD_TEAM_NAME", "main"), ("BUILD_NAME", "3")]).label, "main #3");
    }
}
