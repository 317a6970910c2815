//! The options that lead into a cluster and into a registry, the same for every command that needs
//! them, and what an image on the command line means.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::SecretString;

use super::Surroundings;
use super::mapping::typed;
use crate::cluster::{self, Cluster};
use crate::concourse::metadata::Variables;
use crate::failure::{Explain, Failure};
use crate::image::Pinned;
use crate::log::Log;
use crate::registry::{self, Client, Repository};

/// How many tags a hint names.
const TAGS_NAMED: usize = 5;

/// Which cluster, and as whom.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// The kubeconfig [default: $KUBECONFIG, then ~/.kube/config, then the pod's own account]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The namespace [default: the context's]
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
}

impl ClusterArgs {
    /// Returns the way to the same cluster and `namespace`, as somebody would type it again.
    #[must_use]
    pub fn options(&self, namespace: &str) -> String {
        let mut options = format!(" -n {namespace}");
        options.extend(self.kubeconfig.iter().map(|path| typed("kubeconfig", path.display())));
        options.extend(self.context.iter().map(|context| typed("context", context)));
        options
    }

    /// Connects to the API server.
    ///
    /// # Errors
    ///
    /// When the kubeconfig cannot be read, or the API server does not answer.
    pub async fn connect(&self, surroundings: &Surroundings) -> anyhow::Result<Cluster> {
        let access = cluster::Access {
            files: self.kubeconfigs(&surroundings.vars),
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            ..cluster::Access::default()
        };
        Ok(cluster::connect(&access).await.map_err(Nowhere::failure)?)
    }

    /// Returns the kubeconfigs that kubectl would read; without any the pod's own credentials count.
    fn kubeconfigs(&self, vars: &Variables) -> Vec<PathBuf> {
        if let Some(path) = &self.kubeconfig {
            return vec![path.clone()];
        }
        let listed = vars.get("KUBECONFIG").map_or("", String::as_str).split(':');
        let listed: Vec<PathBuf> = listed.filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        if listed.is_empty() {
            let usual = vars.get("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
            return usual.into_iter().filter(|path| path.exists()).collect();
        }
        // A file of the list may be missing, but not all of them: somebody meant one of them.
        let there: Vec<PathBuf> = listed.iter().filter(|path| path.exists()).cloned().collect();
        if there.is_empty() { listed } else { there }
    }
}

/// A cluster that the command line does not lead to, in the words of a command line.
#[derive(Debug, thiserror::Error)]
enum Nowhere {
    #[error(
        "nothing says which cluster: no --kubeconfig, no $KUBECONFIG, no ~/.kube/config, and not in a pod with a \
         service account"
    )]
    Cluster,
    #[error("`--context` is given, and there is no kubeconfig to look it up in")]
    NoKubeconfig,
    #[error("the kubeconfig has no current-context, and `--context` names none")]
    NoCurrentContext { contexts: Vec<String> },
    #[error("`--context` is `{name}`, which is not in the kubeconfig")]
    NoContext { name: String, contexts: Vec<String> },
}

impl Nowhere {
    fn failure(error: cluster::Error) -> Failure {
        match error {
            cluster::Error::NoAccess => Self::Cluster.into(),
            cluster::Error::KeyMissing { given: "context", .. } => Self::NoKubeconfig.into(),
            cluster::Error::NoCurrentContext { contexts } => Self::NoCurrentContext { contexts }.into(),
            cluster::Error::NoContext { name, asked: true, contexts } => {
                Self::NoContext { name, contexts }.into()
            }
            error => error.into(),
        }
    }
}

impl Explain for Nowhere {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster | Self::NoKubeconfig => {
                Some("give `--kubeconfig FILE`, or set $KUBECONFIG".to_owned())
            }
            Self::NoCurrentContext { contexts } | Self::NoContext { contexts, .. } => {
                let named: Vec<String> = contexts.iter().map(|context| format!("`{context}`")).collect();
                (!named.is_empty()).then(|| format!("give `--context` one of {}", named.join(", ")))
            }
        }
    }
}

/// How to ask a registry.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Registry")]
pub struct RegistryArgs {
    /// The registry's user; the password is $ROLLWAY_REGISTRY_PASSWORD [default: whom docker is logged
    /// in as there]
    #[arg(long, value_name = "USER")]
    registry_username: Option<String>,
    /// Where docker keeps its logins [default: $DOCKER_CONFIG/config.json, then ~/.docker/config.json]
    #[arg(long, value_name = "FILE", conflicts_with = "registry_username")]
    docker_config: Option<PathBuf>,
    /// A file of PEM certificates to trust beside the system's; may be repeated
    #[arg(long, value_name = "FILE")]
    ca_cert: Vec<PathBuf>,
    /// A file with the certificate to show to the registry, with its chain, as PEM
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// A file with the private key of that certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Accept whatever certificate the registry shows
    #[arg(long)]
    skip_tls_verify: bool,
    /// Also try plain http
    #[arg(long)]
    insecure: bool,
}

impl RegistryArgs {
    /// Returns what was typed, for somebody to type it again. The password is no option.
    #[must_use]
    pub fn options(&self) -> String {
        let files = |option, paths: &[PathBuf]| -> String {
            paths.iter().map(|path| typed(option, path.display())).collect()
        };
        let mut options: String =
            self.registry_username.iter().map(|user| typed("registry-username", user)).collect();
        options.push_str(&files("docker-config", self.docker_config.as_slice()));
        options.push_str(&files("ca-cert", &self.ca_cert));
        options.push_str(&files("client-cert", self.client_cert.as_slice()));
        options.push_str(&files("client-key", self.client_key.as_slice()));
        for (option, is_set) in [("skip-tls-verify", self.skip_tls_verify), ("insecure", self.insecure)] {
            if is_set {
                options.push_str(&format!(" --{option}"));
            }
        }
        options
    }

    /// Returns the access that the options and the environment describe.
    ///
    /// # Errors
    ///
    /// When a file that an option names cannot be read.
    pub fn access(&self, surroundings: &Surroundings) -> anyhow::Result<registry::Access> {
        let vars = &surroundings.vars;
        let password = vars.get("ROLLWAY_REGISTRY_PASSWORD").cloned().unwrap_or_default();
        let text = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
        let certificates = self.ca_cert.iter().map(|path| read(path));
        let mut ambient = registry::Ambient::of(vars);
        if let Some(logins) = self.logins(vars)? {
            ambient = ambient.with_docker_config(&logins);
        }
        Ok(registry::Access {
            username: self.registry_username.clone().unwrap_or_default(),
            password: SecretString::from(password),
            insecure: self.insecure,
            skip_tls_verify: self.skip_tls_verify,
            ca_certs: certificates.collect::<anyhow::Result<_>>()?,
            client_cert: text(&self.client_cert)?.unwrap_or_default(),
            client_key: SecretString::from(text(&self.client_key)?.unwrap_or_default()),
            ambient,
            ..registry::Access::default()
        })
    }

    /// Reads the logins that docker keeps. A file that nobody named is read if it can be.
    fn logins(&self, vars: &Variables) -> anyhow::Result<Option<SecretString>> {
        if let Some(path) = &self.docker_config {
            return Ok(Some(SecretString::from(read(path)?)));
        }
        let named = vars.get("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let usual = || vars.get("HOME").map(|home| PathBuf::from(home).join(".docker"));
        let file = named.or_else(usual).map(|folder| folder.join("config.json"));
        Ok(file.and_then(|file| std::fs::read_to_string(file).ok()).map(SecretString::from))
    }
}

/// Reads a file that an option names.
///
/// # Errors
///
/// When it cannot be read.
pub fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))
}

/// Finds the digest: it is in the argument, or the registry is asked what the tag points at.
///
/// # Errors
///
/// When the argument names no image, or the registry does not have the tag.
pub async fn resolve(
    image: &str,
    access: &registry::Access,
    log: &Log,
) -> anyhow::Result<(Pinned, Option<String>)> {
    if let Some(pinned) = pinned(image)? {
        return Ok(pinned);
    }
    let (repository, tag) = registry::split(image);
    let client = Client::connect(repository, access, log).map_err(Failure::from)?;
    let tag = tag.unwrap_or("latest");
    Ok((find(&client, repository, tag).await?, Some(tag.to_owned())))
}

/// Reads an image that is named by its digest, with the tag if it has one too; `None` for one that is
/// not.
///
/// # Errors
///
/// When the digest is none.
pub fn pinned(image: &str) -> anyhow::Result<Option<(Pinned, Option<String>)>> {
    // Another `@` is in credentials, which the registry's reader refuses without repeating them.
    let Some((name, digest)) = image.rsplit_once('@').filter(|(_, end)| !end.contains('/')) else {
        return Ok(None);
    };
    let shown = || format!("failed to read the image `{}`", registry::without_userinfo(image));
    let digest = digest.parse().with_context(shown)?;
    let (repository, tag) = registry::split(name);
    Repository::parse(repository).map_err(Failure::from)?;
    Ok(Some((Pinned { repository: repository.to_owned(), digest }, tag.map(str::to_owned))))
}

/// Asks what `tag` points at.
///
/// # Errors
///
/// When the registry cannot be asked or does not have it; the hint then names the tags it has.
pub async fn find(client: &Client, repository: &str, tag: &str) -> anyhow::Result<Pinned> {
    if let Some(digest) = client.head(tag).await.map_err(Failure::from)? {
        return Ok(Pinned { repository: repository.to_owned(), digest });
    }
    // Who may read a tag may not always list them: the hint is a courtesy.
    let tags = client.tags().await.ok().flatten().unwrap_or_default();
    let missing =
        MissingTag { repository: repository.to_owned(), tag: tag.to_owned(), nearest: nearest(tag, tags) };
    Err(Failure::from(missing).into())
}

#[derive(Debug, thiserror::Error)]
#[error("`{repository}:{tag}` is not in the registry")]
struct MissingTag {
    repository: String,
    tag: String,
    nearest: Vec<String>,
}

impl Explain for MissingTag {
    fn hint(&self) -> Option<String> {
        let named: Vec<String> = self.nearest.iter().map(|tag| format!("`{tag}`")).collect();
        (!named.is_empty()).then(|| format!("the nearest tags there are {}", named.join(", ")))
    }
}

/// Sorts the most alike first, by edits and then by name.
fn nearest(tag: &str, mut tags: Vec<String>) -> Vec<String> {
    tags.sort_by_cached_key(|known| (strsim::damerau_levenshtein(tag, known), known.clone()));
    tags.truncate(TAGS_NAMED);
    tags
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Both {
        #[command(flatten)]
        cluster: ClusterArgs,
        #[command(flatten)]
        registry: RegistryArgs,
    }

    #[test]
    fn a_command_to_type_again_has_every_option_of_the_cluster_and_of_the_registry() {
        let user = ["--registry-username", "it's me"];
        let logins = ["--docker-config", "/my logins/config.json"];
        let mut names = Vec::new();
        for login in [user, logins] {
            let words = "x -n shop --kubeconfig k.yml --context blue --ca-cert a.pem --ca-cert b.pem \
                         --client-cert c.pem --client-key c.key --skip-tls-verify --insecure";
            let typed = Both::parse_from(words.split_whitespace().chain(login));
            let options = typed.cluster.options("shop") + &typed.registry.options();
            // A shell would take the words apart like this.
            let script = format!("printf '%s\\n' {options}");
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            let words = String::from_utf8(output.stdout).unwrap();
            let again = Both::parse_from(std::iter::once("x").chain(words.lines()));
            assert_eq!(format!("{again:?}"), format!("{typed:?}"));
            names.push(options);
        }
        let names = names.concat();
        for argument in Both::command().get_arguments() {
            let long = argument.get_long().unwrap();
            assert!(long == "namespace" || names.contains(&format!(" --{long}")), "{long}");
        }
    }

    #[test]
    fn a_hint_names_the_tags_that_are_most_alike() {
        let tags = ["latest", "1.4.0", "1.3.9", "2.0.0", "sha-123", "nightly"].map(str::to_owned);
        assert_eq!(nearest("1.4.1", tags.to_vec())[..2], ["1.4.0", "1.3.9"]);
        assert_eq!(nearest("1", Vec::new()), [""; 0]);
    }

    #[test]
    fn kubeconfigs_are_those_that_kubectl_would_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path(".kube")).unwrap();
        for name in [".kube/config", "a", "b"] {
            std::fs::write(path(name), "").unwrap();
        }
        let text = |names: &[&str]| {
            names.iter().map(|name| path(name).display().to_string()).collect::<Vec<_>>().join(":")
        };
        let found = |typed: &[&str], listed: String| {
            let home = ("HOME".to_owned(), directory.path().display().to_string());
            let vars = Variables::from_iter([home, ("KUBECONFIG".to_owned(), listed)]);
            Both::parse_from(std::iter::once(&"x").chain(typed)).cluster.kubeconfigs(&vars)
        };
        assert_eq!(found(&[], String::new()), [path(".kube/config")]);
        assert_eq!(found(&[], ":".to_owned()), [path(".kube/config")]);
        assert_eq!(found(&[], text(&["a", "none", "b"])), [path("a"), path("b")]);
        assert_eq!(found(&[], text(&["none"])), [path("none")]);
        assert_eq!(found(&["--kubeconfig", "c"], text(&["a"])), [PathBuf::from("c")]);
    }

    #[test]
    fn a_cluster_that_nothing_leads_to_is_told_in_the_words_of_the_command_line() {
        let contexts = || vec!["blue".to_owned(), "green".to_owned()];
        let told = [
            cluster::Error::NoAccess,
            cluster::Error::KeyMissing { given: "context", missing: "kubeconfig" },
            cluster::Error::NoCurrentContext { contexts: contexts() },
            cluster::Error::NoContext { name: "grean".to_owned(), asked: true, contexts: contexts() },
        ];
        let told = told.map(|error| {
            let failure = Nowhere::failure(error);
            format!("{failure}\n  {}", failure.hint().unwrap())
        });
        insta::assert_snapshot!(told.join("\n"), @r"
        nothing says which cluster: no --kubeconfig, no $KUBECONFIG, no ~/.kube/config, and not in a pod with a service account
          give `--kubeconfig FILE`, or set $KUBECONFIG
        `--context` is given, and there is no kubeconfig to look it up in
          give `--kubeconfig FILE`, or set $KUBECONFIG
        the kubeconfig has no current-context, and `--context` names none
          give `--context` one of `blue`, `green`
        `--context` is `grean`, which is not in the kubeconfig
          give `--context` one of `blue`, `green`
        ");
    }

    #[tokio::test]
    async fn credentials_in_a_name_are_refused_and_not_repeated() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for image in [
            "https://me:CANARY@r.example/app",
            "me:CANARY@r.example/app:1",
            "me:CANARY@r.example/app@sha256:beef",
            &format!("me:CANARY@r.example/app@{digest}"),
        ] {
            let access = registry::Access::default();
            let error = resolve(image, &access, &Log::to(std::io::sink())).await.unwrap_err();
            let text = format!("{error:#}");
            assert!(text.contains("r.example/app") && !text.contains("CANARY"), "{text}");
        }
    }
}
