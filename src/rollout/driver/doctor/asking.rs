//! Asks the registry and the API server what only they know. Nothing is written, and nothing that is
//! secret is kept: of a Secret only its keys matter, or whether its login is let in.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, Secret, ServiceAccount};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{ListParams, LogParams, PostParams};
use serde_json::Value;

use super::super::Rollout;
use super::super::live::Place;
use crate::log::Log;
use crate::registry::{self, Access};
use crate::rollout::observe::Snapshot;
use crate::rollout::preflight::capacity::nodes::eligible;
use crate::rollout::verdict::diagnosis::{Object, Question, Said};

/// API groups of what adds nodes.
const AUTOSCALERS: &[&str] =
    &["karpenter", "eks.amazonaws.com", "nodemanagement.gke.io", "autoscaling.x-k8s.io"];

/// Everything that a question may need, detached from the rollout that asks.
pub(super) struct Desk {
    place: Place,
    access: Access,
    log: Log,
    /// The registry that `access` is meant for; nobody else gets to see it.
    host: String,
    pod: Pod,
}

impl Desk {
    pub(super) fn of(rollout: &Rollout<'_>, look: &Snapshot) -> Self {
        let template = look.deployment.spec.clone().unwrap_or_default().template;
        let metadata = ObjectMeta {
            name: None,
            generate_name: Some(format!("{}-", rollout.place.name)),
            namespace: Some(rollout.place.namespace.clone()),
            ..template.metadata.unwrap_or_default()
        };
        Self {
            place: rollout.place.clone(),
            access: rollout.site.registry.clone(),
            // A registry that does not answer is said once as a suspicion, not with each try.
            log: Log::to(std::io::sink()),
            host: host(&rollout.order.image.repository).unwrap_or_default(),
            pod: Pod { metadata, spec: template.spec, status: None },
        }
    }

    pub(super) async fn ask(&self, question: &Question) -> Said {
        match question {
            Question::Image(image) => self.image(image, self.ours(image)).await,
            Question::Pull { image, secrets } => self.pull(image, secrets).await,
            Question::Object(object) => self.object(object).await,
            Question::Log { pod, container } => self.log(pod, container).await,
            Question::Trial => self.trial().await,
            Question::Autoscaler => self.autoscaler().await,
        }
    }

    /// Our credentials are for one registry.
    fn ours(&self, image: &str) -> Access {
        let repository = registry::split(image).0;
        if host(repository).is_some_and(|host| host == self.host) {
            self.access.clone()
        } else {
            self.nobody()
        }
    }

    fn nobody(&self) -> Access {
        let Access { insecure, ca_certs, .. } = self.access.clone();
        Access { insecure, ca_certs, ..Access::default() }
    }

    async fn image(&self, image: &str, access: Access) -> Said {
        let (name, digest) =
            image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
        let (repository, tag) = registry::split(name);
        let reference = digest.or(tag).unwrap_or("latest");
        let client = match registry::Client::connect(repository, &access, &self.log) {
            Ok(client) => {
                client.with_policy(registry::Policy { deadline: super::BOUND, ..Default::default() })
            }
            Err(error) => return Said::Unknown(error.to_string()),
        };
        match client.head(reference).await {
            Ok(Some(_)) => Said::Yes,
            Ok(None) => Said::No,
            Err(error) if is_refusal(&error) => Said::Refused(error.to_string()),
            Err(error) => Said::Unknown(crate::failure::Failure::from(error).to_string()),
        }
    }

    /// Tries what the pod has: each login of its pull secrets, and nothing where it has none.
    async fn pull(&self, image: &str, secrets: &[String]) -> Said {
        let mut logins = Vec::new();
        for name in secrets {
            match self.place.api::<Secret>().get(name).await {
                Ok(secret) => logins.extend(login(&secret, registry::split(image).0, &self.nobody())),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Said::Unknown(self.words(error, "read a pull secret")),
            }
        }
        if logins.is_empty() {
            return self.image(image, self.nobody()).await;
        }
        let mut said = Said::Unknown("no login was tried".to_owned());
        for login in logins {
            said = self.image(image, login).await;
            if said == Said::Yes {
                break;
            }
        }
        said
    }

    async fn object(&self, object: &Object) -> Said {
        let (place, name) = (&self.place, object.name.as_str());
        let Some(key) = &object.key else {
            return self.found(match object.kind {
                "secret" => place.api::<Secret>().get_metadata(name).await.map(drop),
                "configmap" => place.api::<ConfigMap>().get_metadata(name).await.map(drop),
                "serviceaccount" => place.api::<ServiceAccount>().get_metadata(name).await.map(drop),
                "persistentvolumeclaim" => {
                    place.api::<PersistentVolumeClaim>().get_metadata(name).await.map(drop)
                }
                "priorityclass" => {
                    let api: Api<PriorityClass> = Api::all(place.cluster.client.clone());
                    api.get_metadata(name).await.map(drop)
                }
                other => return Said::Unknown(format!("nobody knows how to look for a {other}")),
            });
        };
        let has_key = match object.kind {
            "secret" => place
                .api::<Secret>()
                .get(name)
                .await
                .map(|secret| secret.data.unwrap_or_default().contains_key(key)),
            _ => place.api::<ConfigMap>().get(name).await.map(|map| {
                map.data.unwrap_or_default().contains_key(key)
                    || map.binary_data.unwrap_or_default().contains_key(key)
            }),
        };
        match has_key {
            Ok(true) => Said::Yes,
            Ok(false) => Said::No,
            Err(error) => self.found(Err(error)),
        }
    }

    fn found(&self, result: kube::Result<()>) -> Said {
        match result {
            Ok(()) => Said::Yes,
            Err(kube::Error::Api(status)) if status.code == 404 => Said::No,
            Err(error) => Said::Unknown(self.words(error, "look for an object")),
        }
    }

    /// Reads the end of a container's log, that of its run before too.
    async fn log(&self, pod: &str, container: &str) -> Said {
        let mut said = Said::No;
        for previous in [false, true] {
            let parameters = LogParams {
                container: Some(container.to_owned()),
                tail_lines: Some(5),
                limit_bytes: Some(4096),
                previous,
                ..LogParams::default()
            };
            match self.place.api::<Pod>().logs(pod, &parameters).await {
                Ok(log) if log.contains("exec format error") => return Said::Yes,
                Ok(_) => said = Said::No,
                // It may not have run before.
                Err(_) if previous => {}
                Err(error) => said = Said::Unknown(self.words(error, "read a log")),
            }
        }
        said
    }

    /// Has a pod of the new template admitted and not kept.
    async fn trial(&self) -> Said {
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        match self.place.api::<Pod>().create(&parameters, &self.pod).await {
            Ok(_) => Said::Yes,
            Err(kube::Error::Api(status)) if is_about_us(&status.message) => {
                Said::Unknown(status.message.clone())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 400..=404 | 409..=422 | 500) => {
                Said::Refused(status.message.clone())
            }
            Err(error) => Said::Unknown(self.words(error, "try a pod")),
        }
    }

    async fn autoscaler(&self) -> Said {
        let client = &self.place.cluster.client;
        match client.list_api_groups().await {
            Ok(groups) => {
                let is_one = |group: &str| AUTOSCALERS.iter().any(|name| group.contains(name));
                if groups.groups.iter().any(|group| is_one(&group.name)) {
                    return Said::Yes;
                }
            }
            Err(error) => return Said::Unknown(self.words(error, "list the API groups")),
        }
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
        self.found(maps.get_metadata("cluster-autoscaler-status").await.map(drop))
    }

    /// Returns how many nodes take such a pod, where that may be known.
    pub(super) async fn nodes(&self) -> Option<usize> {
        let api: Api<Node> = Api::all(self.place.cluster.client.clone());
        let listed = tokio::time::timeout(super::BOUND, api.list(&ListParams::default())).await.ok()?.ok()?;
        let spec = self.pod.spec.clone().unwrap_or_default();
        Some(eligible(&listed.items, &spec).len())
    }

    fn words(&self, error: kube::Error, doing: &str) -> String {
        self.place.cluster.describe(error, doing).to_string()
    }
}

/// Returns whether the API server refuses the trial itself and not the pod.
fn is_about_us(message: &str) -> bool {
    message.contains("cannot create resource") || message.contains("does not support dry run")
}

fn is_refusal(error: &registry::Error) -> bool {
    match error {
        registry::Error::Answered { status, .. } => matches!(status, 401 | 403),
        registry::Error::GaveUp { last, .. } => is_refusal(last),
        _ => false,
    }
}

fn host(repository: &str) -> Option<String> {
    registry::Repository::parse(repository).ok().map(|repository| repository.host().to_owned())
}

/// Returns the login that a pull secret has for a repository, in the form of both kinds of secret.
fn login(secret: &Secret, repository: &str, nobody: &Access) -> Option<Access> {
    let data = secret.data.as_ref()?;
    let auths: Value = match (data.get(".dockerconfigjson"), data.get(".dockercfg")) {
        (Some(text), _) => serde_json::from_slice::<Value>(&text.0).ok()?.get("auths")?.clone(),
        (None, Some(text)) => serde_json::from_slice(&text.0).ok()?,
        (None, None) => return None,
    };
    let host = host(repository)?;
    let entry = auths.as_object()?.iter().find(|(key, _)| is_for(key, &host))?.1;
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    if let Some((name, word)) = decoded(&text("auth")).as_deref().and_then(|pair| pair.split_once(':')) {
        (username, password) = (name.to_owned(), word.to_owned());
    }
    Some(Access { username, password: password.into(), ..nobody.clone() })
}

fn decoded(auth: &str) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(auth).ok()?).ok().filter(|pair| !pair.is_empty())
}

/// Keys are hosts, with or without scheme and path; Docker Hub has several names.
fn is_for(key: &str, host: &str) -> bool {
    let key = key.trim_start_matches("https://").trim_start_matches("http://");
    let key = key.split('/').next().unwrap_or(key);
    let is_hub = |name: &str| matches!(name, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    key == host || (is_hub(key) && is_hub(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use secrecy::ExposeSecret;

    fn mk_secret(key: &str, text: &str) -> Secret {
        let data = [(key.to_owned(), ByteString(text.as_bytes().to_vec()))];
        Secret { data: Some(data.into()), ..Secret::default() }
    }

    #[test]
    fn both_kinds_of_pull_secret_are_read_for_their_host_only() {
        let auth = BASE64_STANDARD.encode("jane:word:with:colons");
        let auths = format!(r#"{{"https://r.test:5000/v2/": {{"auth": "{auth}"}}}}"#);
        for (key, text) in
            [(".dockercfg", auths.clone()), (".dockerconfigjson", format!(r#"{{"auths": {auths}}}"#))]
        {
            let secret = mk_secret(key, &text);
            let access = login(&secret, "r.test:5000/team/app", &Access::default()).unwrap();
            assert_eq!(access.username, "jane");
            assert_eq!(access.password.expose_secret(), "word:with:colons");
            assert!(login(&secret, "other.test/team/app", &Access::default()).is_none());
        }
    }

    #[test]
    fn a_refused_trial_is_not_a_refused_pod() {
        assert!(is_about_us(
            "pods is forbidden: User \"a\" cannot create resource \"pods\" in API group \"\""
        ));
        assert!(is_about_us("admission webhook \"a.b.c\" does not support dry run"));
        assert!(!is_about_us("pods \"app-\" is forbidden: exceeded quota: q"));
    }
}
