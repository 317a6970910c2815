//! Which answer a path gets. Pure: a request line and the instance's state in, an answer out.

use std::time::Duration;

use serde_json::json;

use super::identity::Identity;
use super::life::Phase;

/// The longest a client may ask an answer to take.
const LONGEST: Duration = Duration::from_secs(600);

/// What to send back.
pub(super) enum Answer {
    /// A complete body.
    Whole { status: u16, content_type: &'static str, body: String },
    /// The same, once this time has passed.
    Late { delay: Duration, body: String },
    /// Lines, one every 200 ms, and a last one that says `end`.
    Lines { length: Duration, leave_early: bool },
}

impl Answer {
    /// Answers a request for `target`, which is a path with an optional query.
    pub(super) fn to(target: &str, identity: &Identity, phase: Phase) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path {
            "/" => Self::whole(HTML, page(identity)),
            "/actuator/health" | "/actuator/health/readiness" => health(phase),
            "/actuator/health/liveness" => Self::whole(ACTUATOR, r#"{"status":"UP"}"#.to_owned()),
            "/actuator/metrics" => Self::whole(ACTUATOR, json!({ "names": ["app.info"] }).to_string()),
            "/actuator/metrics/app.info" => Self::whole(ACTUATOR, info(identity).to_string()),
            "/actuator/prometheus" => {
                Self::whole("text/plain;version=0.0.4;charset=utf-8", prometheus(identity, phase))
            }
            "/slow" => Self::Late {
                delay: parameter(query, "ms")
                    .map_or(Duration::from_secs(2), Duration::from_millis)
                    .min(LONGEST),
                body: format!("slow {} {}\n", identity.name, identity.pod),
            },
            "/stream" => Self::Lines {
                length: parameter(query, "seconds")
                    .map_or(Duration::from_secs(5), Duration::from_secs)
                    .min(LONGEST),
                leave_early: parameter(query, "early") == Some(1),
            },
            _ => {
                Self::Whole { status: 404, content_type: "text/plain", body: format!("nothing at {path}\n") }
            }
        }
    }

    /// Answers for a page that its application cannot make.
    pub(super) fn broken() -> Self {
        Self::Whole { status: 500, content_type: HTML, body: "<h1>Internal Server Error</h1>\n".to_owned() }
    }

    fn whole(content_type: &'static str, body: String) -> Self {
        Self::Whole { status: 200, content_type, body }
    }
}

/// The type of pages.
pub(super) const HTML: &str = "text/html;charset=UTF-8";
const ACTUATOR: &str = "application/vnd.spring-boot.actuator.v3+json";

fn parameter(query: &str, name: &str) -> Option<u64> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)?.1.parse().ok()
}

fn health(phase: Phase) -> Answer {
    match phase {
        Phase::Ready => Answer::whole(ACTUATOR, r#"{"status":"UP"}"#.to_owned()),
        Phase::Starting | Phase::Draining | Phase::Stopping => Answer::Whole {
            status: 503,
            content_type: ACTUATOR,
            body: r#"{"status":"OUT_OF_SERVICE"}"#.to_owned(),
        },
    }
}

fn page(Identity { name, pod, runtime, openssl }: &Identity) -> String {
    format!(
        "<!doctype html>\n<title>{name}</title>\n<h1>{name}</h1>\n\
         <dl><dt>pod<dd>{pod}<dt>Java<dd>{runtime}<dt>OpenSSL<dd>{openssl}</dl>\n"
    )
}

fn info(identity: &Identity) -> serde_json::Value {
    json!({
        "name": "app.info",
        "description": "Get application info",
        "baseUnit": null,
        "measurements": [{ "statistic": "COUNT", "value": 1.0 }],
        "availableTags": [
            { "tag": "java.version", "values": [identity.runtime] },
            { "tag": "openssl.version", "values": [identity.openssl] },
        ],
    })
}

fn prometheus(identity: &Identity, phase: Phase) -> String {
    let Identity { name, pod, runtime, openssl } = identity;
    let ready = u8::from(phase == Phase::Ready);
    format!(
        "# HELP app_info_total Get application info\n# TYPE app_info_total counter\n\
         app_info_total{{java_version=\"{}\",openssl_version=\"{}\",}} 1.0\n\
         # HELP app_ready Whether this instance takes traffic\n# TYPE app_ready gauge\n\
         app_ready{{app=\"{}\",pod=\"{}\",}} {ready}.0\n",
        escaped(runtime),
        escaped(openssl),
        escaped(name),
        escaped(pod),
    )
}

/// Escapes a label's value as the Prometheus text format asks.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            name: "foo".to_owned(),
            pod: "app-1".to_owned(),
            runtime: "11.0.5".to_owned(),
            openssl: "OpenSSL 1.1.1  11 Sep 2018 built on: Thu Jun 20 17:36:28 2019 UTC".to_owned(),
        }
    }

    fn body(target: &str, phase: Phase) -> (u16, String) {
        match Answer::to(target, &identity(), phase) {
            Answer::Whole { status, body, .. } => (status, body),
            Answer::Late { .. } | Answer::Lines { .. } => panic!("not a whole answer"),
        }
    }

    #[test]
    fn app_info_is_what_spring_boot_says() {
        let (status, text) = body("/actuator/metrics/app.info", Phase::Ready);
        let expected = r#"{
            "availableTags": [
                { "tag": "java.version", "values": ["11.0.5"] },
                { "tag": "openssl.version",
                  "values": ["OpenSSL 1.1.1  11 Sep 2018 built on: Thu Jun 20 17:36:28 2019 UTC"] }
            ],
            "baseUnit": null, "description": "Get application info",
            "measurements": [{ "statistic": "COUNT", "value": 1.0 }], "name": "app.info"
        }"#;
        let [told, expected]: [serde_json::Value; 2] =
            [&text, expected].map(|json| serde_json::from_str(json).unwrap());
        assert_eq!((status, told), (200, expected));
        assert!(text.contains(r#""value":1.0"#), "{text}");
    }

    #[test]
    fn health_is_up_only_while_ready() {
        assert_eq!(body("/actuator/health", Phase::Ready), (200, r#"{"status":"UP"}"#.to_owned()));
        for phase in [Phase::Starting, Phase::Draining, Phase::Stopping] {
            assert_eq!(body("/actuator/health", phase), (503, r#"{"status":"OUT_OF_SERVICE"}"#.to_owned()));
        }
    }

    #[test]
    fn prometheus_carries_both_versions_as_labels() {
        let (_, text) = body("/actuator/prometheus", Phase::Ready);
        assert!(
            text.contains(r#"app_info_total{java_version="11.0.5",openssl_version="OpenSSL 1.1.1  11 Sep"#),
            "{text}"
        );
    }

    #[test]
    fn slow_and_stream_take_what_the_query_says() {
        assert!(
            matches!(Answer::to("/slow", &identity(), Phase::Ready), Answer::Late { delay, .. } if delay.as_secs() == 2)
        );
        assert!(matches!(
            Answer::to("/stream?seconds=7&early=1", &identity(), Phase::Ready),
            Answer::Lines { length, leave_early: true } if length.as_secs() == 7
        ));
    }

    #[test]
    fn an_unknown_path_is_not_found() {
        assert_eq!(body("/nope?x=1", Phase::Ready), (404, "nothing at /nope\n".to_owned()));
    }
}
