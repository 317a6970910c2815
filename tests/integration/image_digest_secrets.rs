//! No secret of any way into a registry is in what a step prints or writes, whatever fails and
//! whoever repeats what it was sent. Every secret here has the word `canary` in it.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::clouds::{AZURE_TOKEN, Clouds, ECR_PASSWORD, GOOGLE_TOKEN};
use crate::support::registry::{Fault, Login, Registry};
use crate::support::toolkit::Toolkit;

/// The word, and what base64 makes of it at each of its three places.
const TRACES: [&str; 4] = ["canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn"];

/// A way in: what the registry wants, the keys, and all that somebody could repeat.
struct Way {
    login: Login,
    keys: Value,
    sent: Vec<String>,
}

fn pair(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

fn ways(clouds: &Clouds, mirror: &str) -> Vec<Way> {
    const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
    let password = || vec!["canary-pw".to_owned(), pair("bob", "canary-pw")];
    let registry = Registry::mutual_tls();
    let trusted = json!({"username": "bob", "password": "canary-pw",
        "client_cert": registry.client().0, "client_key": "canary-key"});
    let mirrored = json!({"registry_mirrors":
        [{"registry": "[HOST]", "host": mirror, "username": "bob", "password": "canary-pw"}]});
    let key = |id: &str, token: &str| {
        json!({"aws_region": "eu-west-1", "aws_access_key_id": id, "aws_secret_access_key": "canary-secret",
            "aws_session_token": token, "aws_role_arn": "arn:aws:iam::1:role/one"})
    };
    let amazon = vec![ECR_PASSWORD.to_owned(), pair("AWS", ECR_PASSWORD)];
    let google = json!({"type": "service_account", "client_email": "a@b", "token_uri": clouds.url("/google/token"),
        "private_key": include_str!("support/google-key.pem")});
    let google_sent = || vec![GOOGLE_TOKEN.to_owned(), pair("oauth2accesstoken", GOOGLE_TOKEN)];
    let config = |entry: Value| json!({"docker_config": {"auths": {"[HOST]": entry}}});
    let identity = || vec!["canary-idt".to_owned(), pair(NOBODY, "canary-idt")];
    let way = |login, keys, sent| Way { login, keys, sent };
    vec![
        way(Login::Basic("bob", "x"), json!({"username": "bob", "password": "canary-pw"}), password()),
        way(
            Login::Bearer("bob", "canary-pw"),
            json!({"username": "bob", "password": "canary-pw"}),
            password(),
        ),
        way(Login::None, trusted, password()),
        way(Login::None, mirrored, password()),
        way(Login::Bearer("a", "b"), config(json!({"auth": pair("bob", "canary-pw")})), password()),
        way(Login::Bearer(NOBODY, "canary-idt"), config(json!({"identitytoken": "canary-idt"})), identity()),
        way(Login::Anonymous, config(json!({"registrytoken": "canary-rt"})), vec!["canary-rt".to_owned()]),
        way(Login::Basic("AWS", ECR_PASSWORD), key("AKID", "canary-session"), amazon),
        way(Login::Bearer("oauth2accesstoken", GOOGLE_TOKEN), json!({"gcp_json_key": google}), google_sent()),
        way(Login::Bearer("a", "b"), json!({"gcp_access_token": GOOGLE_TOKEN}), google_sent()),
        way(Login::Bearer("a", "b"), json!({"azure_acr": true}), vec![AZURE_TOKEN.to_owned()]),
    ]
}

fn is_clean(text: &str) -> bool {
    TRACES.iter().all(|trace| !text.contains(trace))
}

fn check_files(directory: &Path, case: &str) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check_files(&path, case);
        } else {
            assert!(is_clean(&fs::read_to_string(&path).unwrap_or_default()), "{case}: {}", path.display());
        }
    }
}

/// Runs a step of `way` in which everything that `line` or `call` leads to fails and tells all it knows.
fn run(number: usize, line: &str, call: &str, step: &str) {
    let mirror = Registry::plain();
    let clouds = Clouds::of("registry.example.com");
    let way = ways(&clouds, &mirror.host()).remove(number);
    let registry = Registry::plain().with_login(way.login);
    let digest = registry.image("app", "latest", &[]);
    // Before the first request, nobody has been told anything.
    let told = if line == "GET /v2/" { String::new() } else { way.sent.join(" ") };
    // A mirror's password is sent to the mirror alone, and so only the mirror can repeat it.
    let (teller, other) =
        if way.keys["registry_mirrors"].is_null() { (&registry, &mirror) } else { (&mirror, &registry) };
    teller.fault(line, Fault::refusal(403, "DENIED", &format!("you sent {told}")));
    other.fault(line, Fault::status(403));
    let told = match call {
        "AssumeRole arn:aws:iam::1:role/one" => "canary-secret canary-session",
        "GetAuthorizationToken" => "canary-secret-one canary-session-one",
        _ => "",
    };
    clouds.fault(call, 403, &json!({"__type": "Denied", "message": format!("you sent {told}")}).to_string());
    let toolkit = Toolkit::new()
        .variable("AWS_ENDPOINT_URL", &clouds.url("/"))
        .variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", &clouds.url("/"))
        .filter(&digest, "[DIGEST]");
    let keys = way.keys.to_string().replace("[HOST]", &registry.host());
    let mut source: Value = serde_json::from_str(&keys).unwrap();
    source["repository"] = json!(registry.repository("app"));
    source["tag"] = json!("latest");
    source["debug"] = json!(true);
    let request = json!({"source": source, "version": {"tag": "latest", "digest": digest}});
    let directory = toolkit.folder("step");
    let outcome = toolkit.step("image-digest", step, Some(&directory), &request.to_string()).to_string();
    let case = format!("{step} with {keys} and a failing {line} or {call}");
    assert!(outcome.contains("exit"), "{case}: {outcome}");
    assert!(is_clean(&outcome), "{case}: {outcome}");
    check_files(&directory, &case);
}

#[test]
fn no_secret_gets_out_wherever_it_fails() {
    let count = ways(&Clouds::of(""), "").len();
    for number in 0..count {
        for (line, call) in [
            ("nothing", "nothing"),
            ("GET /v2/", "GetAuthorizationToken"),
            ("HEAD ", "AssumeRole arn:aws:iam::1:role/one"),
            ("GET /token", "POST /google/token"),
            ("POST /token", "GET /metadata/identity/oauth2/token"),
            ("POST /oauth2/exchange", "nothing"),
            ("GET /v2/app", "nothing"),
        ] {
            run(number, line, call, "check");
        }
        run(number, "GET /v2/app", "nothing", "in");
    }
}

#[test]
fn secret_of_a_wrong_type_or_under_a_wrong_name_is_not_repeated() {
    let toolkit = Toolkit::new();
    for key in [
        "password",
        "docker_config",
        "client_key",
        "aws_secret_access_key",
        "aws_session_token",
        "gcp_json_key",
        "gcp_access_token",
    ] {
        for value in [json!(["canary"]), json!({"auths": ["canary"], "type": "canary"}), json!("canary")] {
            for name in [key.to_owned(), format!("{key}x")] {
                let source = json!({"repository": "127.0.0.1:1/app", name: value, "client_cert": ""});
                let request = json!({"source": source}).to_string();
                let outcome = toolkit.step("image-digest", "check", None, &request);
                assert_eq!(outcome.code, Some(1), "{request}: {outcome}");
                assert!(is_clean(&outcome.to_string()), "{request}: {outcome}");
            }
        }
    }
}
