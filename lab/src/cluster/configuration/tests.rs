use super::*;
use crate::cluster::plan::Ports;

fn plan() -> Plan {
    Plan {
        ports: Ports { api: 1001, plain: 1002, tls: 1003, auth: 1004 },
        admin_token: "secret-token".to_owned(),
        data: "/data".into(),
        programs: "/programs".into(),
        kpack: None,
        logs: "/logs".into(),
    }
}

fn rendered(bridge_netfilter: BridgeNetfilter) -> Vec<File> {
    render(&plan(), &Authority::new().unwrap(), "rollway:hash", bridge_netfilter).unwrap()
}

fn text<'a>(files: &'a [File], path: &str) -> &'a str {
    &files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no file `{path}`")).text
}

#[test]
fn no_two_files_have_one_path_and_none_leaves_the_directory() {
    let files = rendered(BridgeNetfilter::Present);
    let paths: std::collections::BTreeSet<_> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths.len(), files.len());
    assert!(paths.iter().all(|path| !path.starts_with('/') && !path.contains("..")));
}

#[test]
fn the_admin_token_is_only_where_the_api_server_reads_it() {
    let files = rendered(BridgeNetfilter::Present);
    let with_token: Vec<_> =
        files.iter().filter(|file| file.text.contains("secret-token")).map(|file| &file.path).collect();
    assert_eq!(with_token, ["tokens.csv"]);
}

#[test]
fn only_the_faces_that_speak_tls_have_a_certificate_and_only_one_wants_a_password() {
    let files = rendered(BridgeNetfilter::Present);
    let has = |face: &str, word: &str| text(&files, &format!("registry/{face}.yaml")).contains(word);
    assert!(!has("plain", "certificate") && has("tls", "certificate") && has("auth", "certificate"));
    assert!(!has("plain", "htpasswd") && !has("tls", "htpasswd") && has("auth", "htpasswd"));
    assert!(has("plain", "0.0.0.0:1002") && has("tls", "0.0.0.0:1003") && has("auth", "0.0.0.0:1004"));
}

#[test]
fn containerd_trusts_the_authority_where_the_registry_speaks_tls() {
    let files = rendered(BridgeNetfilter::Present);
    let plain = text(&files, "registries/127.0.0.1:1002/hosts.toml");
    assert!(plain.contains("http://127.0.0.1:1002") && !plain.contains("ca ="), "{plain}");
    let tls = text(&files, "registries/10.200.0.1:1003/hosts.toml");
    assert!(tls.contains("https://10.200.0.1:1003") && tls.contains("ca = \"/run/lab/pki/ca.crt\""), "{tls}");
}

#[test]
fn kube_proxy_masquerades_everything_only_where_the_bridge_is_not_filtered() {
    let masquerades = |bridge_netfilter| {
        let files = rendered(bridge_netfilter);
        let value: serde_json::Value = serde_json::from_str(text(&files, "kube-proxy.yaml")).unwrap();
        value["iptables"]["masqueradeAll"].as_bool().unwrap()
    };
    assert!(!masquerades(BridgeNetfilter::Present));
    assert!(masquerades(BridgeNetfilter::Missing));
}
