//! What a kubeconfig says, checked before it is used: every reference that leads nowhere is named
//! with what there is instead. No value of a kubeconfig but names and URLs reaches an error.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use kube::Config;
use kube::config::{
    AuthInfo, Cluster, Context, ExecInteractiveMode, KubeConfigOptions, Kubeconfig, KubeconfigError,
    NamedAuthInfo, NamedCluster, NamedContext,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::SecretString;

use super::error::Error;

/// What `ci/k8s.template.yml` holds until somebody pastes a kubeconfig over it.
const PLACEHOLDER: &str = "PASTE YOUR .kube/config HERE";
/// The name of the only context of a kubeconfig made from `server` and `token`.
const MADE: &str = "source";
/// What is wrong with a kubeconfig that has neither.
const NOWHERE: &str = "no `clusters` and no `contexts` in it";

/// Reads YAML or JSON text.
pub(super) fn parse(text: &str) -> Result<Kubeconfig, Error> {
    if text.contains(PLACEHOLDER) {
        return Err(Error::Placeholder);
    }
    let parsed =
        Kubeconfig::from_yaml(text).map_err(|error| Error::NotKubeconfig { place: place(&error) })?;
    if leads_nowhere(&parsed) {
        return Err(Error::NotKubeconfig { place: NOWHERE.to_owned() });
    }
    Ok(parsed)
}

fn leads_nowhere(kubeconfig: &Kubeconfig) -> bool {
    kubeconfig.clusters.is_empty() && kubeconfig.contexts.is_empty()
}

/// Reads files as kubectl does: what is in two of them is the first one's, and a path in a file is
/// relative to that file.
pub(super) fn read(paths: &[PathBuf]) -> Result<Kubeconfig, Error> {
    let mut merged = Kubeconfig::default();
    for path in paths {
        let refused = |error: &KubeconfigError| Error::KubeconfigFile {
            path: path.display().to_string(),
            why: match error {
                KubeconfigError::ReadConfig(source, _) => source.to_string(),
                KubeconfigError::KindMismatch => "its kind is not that of the file before it".to_owned(),
                KubeconfigError::ApiVersionMismatch => {
                    "its version is not that of the file before it".to_owned()
                }
                error => place(error),
            },
        };
        let mut one = Kubeconfig::read_from(path).map_err(|error| refused(&error))?;
        one.current_context = one.current_context.filter(|name| !name.is_empty());
        forget_empty_paths(&mut one, path.parent().unwrap_or(path));
        merged = merged.merge(one).map_err(|error| refused(&error))?;
    }
    if leads_nowhere(&merged) {
        let path = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
        return Err(Error::KubeconfigFile { path, why: NOWHERE.to_owned() });
    }
    Ok(merged)
}

/// An empty path names no file, and kube made it the directory of the kubeconfig.
fn forget_empty_paths(kubeconfig: &mut Kubeconfig, directory: &Path) {
    let forget = |path: &mut Option<String>| {
        if path.as_deref().is_some_and(|path| Path::new(path) == directory) {
            *path = None;
        }
    };
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        forget(&mut cluster.certificate_authority);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        forget(&mut user.client_certificate);
        forget(&mut user.client_key);
        forget(&mut user.token_file);
    }
}

/// Returns where a kubeconfig stopped making sense. The parser's own message may quote the line.
fn place(error: &KubeconfigError) -> String {
    let location = match error {
        KubeconfigError::Parse(error) => error.location(),
        _ => None,
    };
    match location {
        Some(at) => format!("line {}, column {} is not what a kubeconfig has there", at.line(), at.column()),
        None => "it is no YAML document".to_owned(),
    }
}

/// Returns the kubeconfig that `server`, `token` and `certificate_authority` stand for, so that
/// there is one way from a kubeconfig to a client.
pub(super) fn of_token(
    server: &str,
    token: &SecretString,
    certificates: Option<String>,
) -> Result<Kubeconfig, Error> {
    use secrecy::ExposeSecret;
    let token = token.expose_secret().trim();
    if token.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err(Error::TokenShape);
    }
    let cluster = Cluster {
        server: Some(server.trim().to_owned()),
        certificate_authority_data: certificates,
        ..Cluster::default()
    };
    let user = AuthInfo { token: Some(SecretString::from(token.to_owned())), ..AuthInfo::default() };
    let context = Context { cluster: MADE.to_owned(), user: Some(MADE.to_owned()), ..Context::default() };
    let name = || MADE.to_owned();
    Ok(Kubeconfig {
        current_context: Some(name()),
        clusters: vec![NamedCluster { name: name(), cluster: Some(cluster), ..NamedCluster::default() }],
        auth_infos: vec![NamedAuthInfo { name: name(), auth_info: Some(user), ..NamedAuthInfo::default() }],
        contexts: vec![NamedContext { name: name(), context: Some(context), ..NamedContext::default() }],
        ..Kubeconfig::default()
    })
}

/// Returns `certificate_authority` as base64 of PEM, having looked at every certificate in it.
pub(super) fn certificates(text: &str) -> Result<String, Error> {
    let refuse = |why: &str| Error::CertificateAuthority { why: why.to_owned() };
    let pem = if text.contains("-----BEGIN") {
        text.as_bytes().to_vec()
    } else {
        let compact: String = text.split_whitespace().collect();
        STANDARD.decode(compact).map_err(|_| refuse("it is neither PEM nor base64 of PEM"))?
    };
    let count = CertificateDer::pem_slice_iter(&pem).filter(Result::is_ok).count();
    let broken = CertificateDer::pem_slice_iter(&pem).any(|certificate| certificate.is_err());
    match (count, broken) {
        (0, _) => Err(refuse("there is no certificate in it")),
        (_, true) => Err(refuse("a certificate in it is cut off or damaged")),
        _ => Ok(STANDARD.encode(pem)),
    }
}

/// Turns the chosen context into a client configuration.
pub(super) async fn config(
    mut parsed: Kubeconfig,
    context: Option<&str>,
    skip_tls_verify: bool,
) -> Result<Config, Error> {
    let name = choose(&parsed, context)?;
    let chosen = lookup(&parsed, &name)?;
    if let Some(cluster) = named_cluster(&mut parsed, &chosen.cluster) {
        inspect_cluster(cluster, &chosen.cluster)?;
        if skip_tls_verify {
            cluster.certificate_authority = None;
            cluster.certificate_authority_data = None;
        }
    }
    let explicit_proxy = named_cluster(&mut parsed, &chosen.cluster)
        .and_then(|cluster| cluster.proxy_url.as_deref())
        .is_some_and(|url| !url.is_empty());
    if let Some(user) = named_user(&mut parsed, chosen.user.as_deref().unwrap_or_default()) {
        inspect_user(user, chosen.user.as_deref().unwrap_or_default())?;
    }
    let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
    let mut config =
        Config::from_custom_kubeconfig(parsed, &options).await.map_err(|error| refused(&error, &chosen))?;
    if !explicit_proxy {
        config.proxy_url = proxy(&config);
    }
    Ok(config)
}

/// Returns the proxy for the API server. kube matches NO_PROXY against the proxy's own address, so
/// that a cluster exempted there would be looked for behind the proxy all the same.
fn proxy(config: &Config) -> Option<http::Uri> {
    let intercept = Matcher::from_env().intercept(&config.cluster_url)?;
    config.proxy_url.clone().or_else(|| Some(intercept.uri().clone()))
}

fn choose(parsed: &Kubeconfig, asked: Option<&str>) -> Result<String, Error> {
    let current = parsed.current_context.as_deref().filter(|name| !name.is_empty());
    let contexts = || parsed.contexts.iter().map(|context| context.name.clone()).collect::<Vec<_>>();
    match asked.or(current) {
        None => Err(Error::NoCurrentContext { contexts: contexts() }),
        Some(name) if parsed.contexts.iter().any(|context| context.name == name) => Ok(name.to_owned()),
        Some(name) => {
            Err(Error::NoContext { name: name.to_owned(), asked: asked.is_some(), contexts: contexts() })
        }
    }
}

/// Returns the context, once the cluster and the user it names are known to be there.
fn lookup(parsed: &Kubeconfig, name: &str) -> Result<Context, Error> {
    let found = parsed.contexts.iter().find(|context| context.name == name);
    let missing = |kind: &'static str, value: &str, known: Vec<String>| Error::Dangling {
        context: name.to_owned(),
        kind,
        name: value.to_owned(),
        known,
    };
    let clusters: Vec<String> = parsed.clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let users: Vec<String> = parsed.auth_infos.iter().map(|user| user.name.clone()).collect();
    let Some(context) = found.and_then(|named| named.context.clone()) else {
        return Err(missing("cluster", "", clusters));
    };
    if !parsed.clusters.iter().any(|named| named.name == context.cluster && named.cluster.is_some()) {
        return Err(missing("cluster", &context.cluster, clusters));
    }
    match context.user.as_deref() {
        Some(user) if !user.is_empty() && !users.iter().any(|known| known == user) => {
            Err(missing("user", user, users))
        }
        _ => Ok(context),
    }
}

fn named_cluster<'a>(parsed: &'a mut Kubeconfig, name: &str) -> Option<&'a mut Cluster> {
    parsed.clusters.iter_mut().find(|named| named.name == name)?.cluster.as_mut()
}

fn named_user<'a>(parsed: &'a mut Kubeconfig, name: &str) -> Option<&'a mut AuthInfo> {
    parsed.auth_infos.iter_mut().find(|named| named.name == name)?.auth_info.as_mut()
}

fn inspect_cluster(cluster: &Cluster, name: &str) -> Result<(), Error> {
    let server = cluster.server.as_deref().unwrap_or_default();
    let uri = server.parse::<http::Uri>().ok();
    let usable = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !usable {
        let key = if name == MADE { "server".to_owned() } else { format!("clusters[{name}].cluster.server") };
        return Err(Error::ServerUrl { key, value: super::error::without_userinfo(server) });
    }
    let data = cluster.certificate_authority_data.is_some();
    readable(cluster.certificate_authority.as_deref(), data, name, "clusters", "certificate-authority")
}

/// Checks what a user's entry needs from this machine, and keeps a credential plugin away from
/// stdin: there is the step's request.
fn inspect_user(user: &mut AuthInfo, name: &str) -> Result<(), Error> {
    let certificate = user.client_certificate_data.is_some();
    readable(user.client_certificate.as_deref(), certificate, name, "users", "client-certificate")?;
    readable(user.client_key.as_deref(), user.client_key_data.is_some(), name, "users", "client-key")?;
    readable(user.token_file.as_deref(), user.token.is_some(), name, "users", "tokenFile")?;
    if let Some(exec) = &mut user.exec {
        exec.interactive_mode = Some(ExecInteractiveMode::Never);
        if exec.command.as_deref().unwrap_or_default().is_empty() {
            return Err(Error::PluginUnnamed { user: name.to_owned() });
        }
    }
    Ok(())
}

/// Refuses a reference to a file that is only on the machine of whoever pasted the kubeconfig.
fn readable(
    path: Option<&str>,
    has_data: bool,
    name: &str,
    list: &'static str,
    key: &'static str,
) -> Result<(), Error> {
    match path.filter(|path| !path.is_empty() && !has_data) {
        Some(path) if std::fs::File::open(Path::new(path)).is_err() => Err(Error::FileReference {
            key: format!("{list}[{name}].{}.{key}", list.trim_end_matches('s')),
            path: path.to_owned(),
            data: if key == "tokenFile" { "token".to_owned() } else { format!("{key}-data") },
        }),
        _ => Ok(()),
    }
}

/// Explains what kube still found wrong after the checks above; its errors carry no values here.
fn refused(error: &KubeconfigError, chosen: &Context) -> Error {
    let cluster = |key: &str| format!("clusters[{}].cluster.{key}", chosen.cluster);
    let user = |key: &str| format!("users[{}].user.{key}", chosen.user.as_deref().unwrap_or_default());
    let key = match error {
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            cluster("certificate-authority-data")
        }
        KubeconfigError::ParseProxyUrl(_) => cluster("proxy-url"),
        KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => cluster("server"),
        KubeconfigError::LoadClientCertificate(_) => user("client-certificate-data"),
        KubeconfigError::LoadClientKey(_) => user("client-key-data"),
        KubeconfigError::ParseNoProxy(_) => return Error::NoProxy,
        _ => "contexts".to_owned(),
    };
    Error::KubeconfigValue { key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Explain;

    const TWO_CONTEXTS: &str = r"
apiVersion: v1
kind: Config
current-context: blue
contexts:
- {name: blue, context: {cluster: one, user: ann}}
- {name: green, context: {cluster: two, user: ann}}
- {name: astray, context: {cluster: nowhere, user: ann}}
- {name: alone, context: {cluster: one, user: nobody}}
- {name: elsewhere, context: {cluster: one, user: filed}}
clusters:
- {name: one, cluster: {server: 'https://one.example:6443'}}
- {name: two, cluster: {server: two.example, certificate-authority: /home/ann/ca.crt}}
users:
- {name: ann, user: {token: canary}}
- {name: filed, user: {client-certificate: /home/ann/ann.crt, client-key-data: Y2FuYXJ5}}
";

    async fn chosen(context: Option<&str>) -> Result<Config, Error> {
        config(parse(TWO_CONTEXTS)?, context, false).await
    }

    async fn refusal(context: &str) -> (String, String) {
        let error = chosen(Some(context)).await.unwrap_err();
        (error.to_string(), error.hint().unwrap())
    }

    #[tokio::test]
    async fn current_context_is_used_unless_another_is_asked_for() {
        let config = chosen(None).await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://one.example:6443/");
    }

    #[tokio::test]
    async fn unknown_context_lists_the_contexts_there_are() {
        let (error, hint) = refusal("grean").await;
        assert_eq!(error, "`context` `grean` is not in the kubeconfig");
        assert!(hint.contains("`blue`, `green`"), "{hint}");
    }

    #[tokio::test]
    async fn reference_that_leads_nowhere_is_named_with_what_there_is() {
        let (error, hint) = refusal("astray").await;
        assert_eq!(
            error,
            "context `astray` of the kubeconfig names the cluster `nowhere`, which is not in it"
        );
        assert_eq!(hint, "the clusters in it are `one`, `two`");
        let (error, _) = refusal("alone").await;
        assert!(error.contains("names the user `nobody`"), "{error}");
    }

    #[tokio::test]
    async fn file_of_another_machine_is_named_with_the_key_that_holds_content() {
        let (error, hint) = refusal("elsewhere").await;
        assert_eq!(
            error,
            "`users[filed].user.client-certificate` of the kubeconfig is the file `/home/ann/ann.crt`, which is not here"
        );
        assert!(hint.contains("`client-certificate-data`"), "{hint}");
    }

    #[tokio::test]
    async fn address_without_a_scheme_is_refused() {
        let (error, _) = refusal("green").await;
        assert_eq!(error, "`clusters[two].cluster.server` is `two.example`, which is not a URL");
    }

    #[test]
    fn broken_text_is_located_and_not_quoted() {
        for text in [
            "users:\n- name: canary\n  user: [canary\n",
            "contexts: 'canary'\n",
            "users:\n- {name: a, user: {token: [canary]}}\n",
            "canary",
            "[canary]",
            "{}",
            "\tcanary: canary",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("`kubeconfig` is not a kubeconfig: "), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[tokio::test]
    async fn paths_in_a_file_are_relative_to_it_and_the_first_of_several_files_wins() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        file("home/token", "canary");
        let one = "current-context: ''\nclusters:\n- {name: c, cluster: {server: 'https://one.example'}}\n\
                   users:\n- {name: u, user: {tokenFile: token, client-key: ''}}\n";
        let two = "current-context: x\ncontexts:\n- {name: x, context: {cluster: c, user: u}}\n\
                   clusters:\n- {name: c, cluster: {server: 'https://two.example'}}\n";
        let paths = [file("home/one", one), file("two", two)];
        let config = config(read(&paths).unwrap(), None, false).await.unwrap();
        assert_eq!(config.cluster_url.to_string(), "https://one.example/");
        let token = directory.path().join("home/token");
        assert_eq!(config.auth_info.token_file.as_deref(), token.to_str());
    }

    #[test]
    fn file_that_is_no_kubeconfig_is_named_and_not_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        for (text, words) in [
            ("users: canary", "line 1, column 8 is not what a kubeconfig has there"),
            ("", "no `clusters` and no `contexts` in it"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read(std::slice::from_ref(&path)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("failed to read the kubeconfig `{}`: {words}", path.display())
            );
            assert_eq!(error.hint().unwrap(), "correct it, or give another one with `--kubeconfig FILE`");
        }
        let error = read(&[directory.path().join("none")]).unwrap_err().to_string();
        assert!(error.contains("none`: No such file"), "{error}");
    }

    #[test]
    fn placeholder_of_the_template_is_recognised() {
        let error = parse(">--- PASTE YOUR .kube/config HERE ---<\n").unwrap_err();
        assert!(matches!(error, Error::Placeholder));
    }

    #[test]
    fn certificates_are_pem_or_base64_of_it() {
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().pem();
        let encoded = STANDARD.encode(&pem);
        assert_eq!(certificates(&pem).unwrap(), encoded);
        assert_eq!(certificates(&format!("{}\n{}\n", &encoded[..64], &encoded[64..])).unwrap(), encoded);
        for bad in ["canary", "Y2FuYXJ5", &pem[..pem.len() / 2], "-----BEGIN CERTIFICATE-----\n"] {
            let error = certificates(bad).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
