//! The environment of a step as the real Concourse makes it. A check has a team and a pipeline but
//! no job; `HOME` is nowhere; the worker's proxies come in lower case.

use crate::concourse::Step;
use crate::concourse::metadata::Variables;

/// What a worker's runtime adds where the image sets none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The build that a step belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The number over all builds.
    pub id: u64,
    /// The number within the job.
    pub name: String,
    /// The team; there is one.
    pub team: String,
    /// The pipeline.
    pub pipeline: String,
    /// The job.
    pub job: String,
    /// Where Concourse would be.
    pub external_url: String,
}

impl Default for Facts {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            id: 1,
            name: text("1"),
            team: text("main"),
            pipeline: text("harness"),
            job: text("try"),
            external_url: text("http://localhost:8080"),
        }
    }
}

/// Returns the variables of `step` in the build `facts` on a worker whose environment is `host`.
#[must_use]
pub fn of_step(step: Step, facts: &Facts, host: &Variables) -> Variables {
    let mut variables = Variables::new();
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            variables.insert(name.to_owned(), value.to_owned());
        }
    };
    set("PATH", PATH);
    set("USER", "root");
    set("ATC_EXTERNAL_URL", &facts.external_url);
    set("BUILD_TEAM_ID", "1");
    set("BUILD_TEAM_NAME", &facts.team);
    set("BUILD_PIPELINE_ID", "1");
    set("BUILD_PIPELINE_NAME", &facts.pipeline);
    for name in ["http_proxy", "https_proxy", "no_proxy"] {
        let upper = host.get(&name.to_uppercase()).map(String::as_str);
        set(name, host.get(name).map(String::as_str).or(upper).unwrap_or_default());
    }
    if step == Step::Check {
        set("BUILD_NAME", "check");
        return variables;
    }
    let Facts { id, name, team, pipeline, job, external_url } = facts;
    set("BUILD_ID", &id.to_string());
    set("BUILD_NAME", name);
    set("BUILD_JOB_ID", "1");
    set("BUILD_JOB_NAME", job);
    set("BUILD_URL_SHORT", &format!("{external_url}/builds/{id}"));
    set("BUILD_URL", &format!("{external_url}/teams/{team}/pipelines/{pipeline}/jobs/{job}/builds/{name}"));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_has_no_job_and_nobody_has_a_home() {
        let host = Variables::from([
            ("HOME".to_owned(), "/root".to_owned()),
            ("HTTPS_PROXY".to_owned(), "http://proxy:3128".to_owned()),
            ("SECRET".to_owned(), "x".to_owned()),
        ]);
        let check = of_step(Step::Check, &Facts::default(), &host);
        assert_eq!(check["BUILD_NAME"], "check");
        assert_eq!(check["https_proxy"], "http://proxy:3128");
        for name in ["HOME", "SECRET", "HTTPS_PROXY", "BUILD_JOB_NAME", "BUILD_ID", "BUILD_URL"] {
            assert!(!check.contains_key(name), "{name}");
        }
    }

    #[test]
    fn build_url_names_team_pipeline_job_and_build() {
        let put = of_step(Step::Put, &Facts::default(), &Variables::new());
        let url = "http://localhost:8080/teams/main/pipelines/harness/jobs/try/builds/1";
        assert_eq!(put["BUILD_URL"], url);
    }
}
