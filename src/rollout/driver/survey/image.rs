//! What the registry says about the new image and the one that runs. Credentials go only to the
//! registry that they are for: a running image from elsewhere is not asked about.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Node, PodSpec};

use super::super::running_image;
use super::Surveyor;
use crate::failure::Failure;
use crate::image::{Config, Digest, Pinned, Platform};
use crate::registry::{self, Client, Family};
use crate::rollout::preflight::facts::{Asked, ImageFacts, new_template};

/// What was found out about both images, and the nodes that would run them.
pub(super) struct Images {
    pub(super) new: Asked<ImageFacts>,
    pub(super) others: BTreeMap<String, Asked<ImageFacts>>,
    pub(super) running: Asked<ImageFacts>,
    pub(super) nodes: Asked<Vec<Node>>,
    /// Why the registry could not be asked about the new image.
    pub(super) trouble: Option<String>,
}

/// One image as far as its manifests tell.
enum Found {
    Nothing,
    Denied,
    Image(Box<Family>),
}

/// What the registry said about one image, and whom to ask on; or why it said nothing.
type Answer = Result<(Option<Client>, Found), String>;

impl Surveyor<'_> {
    pub(super) async fn nodes_and_images(&self) -> Images {
        let (nodes, new, others, running) = futures::join!(
            self.nodes(),
            self.family(Some(&self.order.image)),
            self.other_families(),
            self.running_family()
        );
        let template = new_template(self.snapshot, self.order).spec.unwrap_or_default();
        let platform = platform(&template, nodes.known().map_or(&[], Vec::as_slice));
        let trouble = trouble(&new);
        let (new, others, running) = futures::join!(
            self.facts(new, &platform),
            self.facts_of_all(others, &platform),
            self.facts(running, &platform)
        );
        Images { new, others, running, nodes, trouble }
    }

    pub(super) async fn new_images(&self) -> Images {
        let (new, others) = futures::join!(self.family(Some(&self.order.image)), self.other_families());
        let (trouble, platform) = (trouble(&new), Platform::default());
        let (new, others) = futures::join!(self.facts(new, &platform), self.facts_of_all(others, &platform));
        Images { new, others, running: Asked::default(), nodes: Asked::default(), trouble }
    }

    async fn other_families(&self) -> Vec<(String, Answer)> {
        let images = self.place.others.iter().map(|name| self.order.image_of(name));
        let others: BTreeMap<String, &Pinned> = images
            .filter(|image| **image != self.order.image)
            .map(|image| (image.to_string(), image))
            .collect();
        let asked = others.into_iter().map(async |(name, image)| (name, self.family(Some(image)).await));
        join_all(asked).await
    }

    async fn facts_of_all(
        &self,
        families: Vec<(String, Answer)>,
        platform: &Platform,
    ) -> BTreeMap<String, Asked<ImageFacts>> {
        let facts = families.into_iter().map(async |(name, asked)| (name, self.facts(asked, platform).await));
        join_all(facts).await.into_iter().collect()
    }

    async fn running_family(&self) -> Answer {
        let image = running_image(self.snapshot);
        let host = |repository: &str| {
            registry::Repository::parse(repository).ok().map(|repository| repository.host().to_owned())
        };
        let ours = host(&self.order.image.repository);
        let known = image.filter(|image| ours.is_some() && host(&image.repository) == ours);
        self.family(known.as_ref()).await
    }

    async fn family(&self, image: Option<&Pinned>) -> Answer {
        let image = image.ok_or_else(|| "the digest that runs".to_owned())?;
        let words = |error: registry::Error| Failure::from(error).to_string();
        let client = Client::connect(&image.repository, self.site.registry, self.site.log).map_err(words)?;
        match tokio::time::timeout_at(self.until, client.family(&image.digest)).await {
            Ok(Ok(Some(family))) => Ok((Some(client), Found::Image(Box::new(family)))),
            Ok(Ok(None)) => Ok((Some(client), Found::Nothing)),
            Ok(Err(error)) if error.is_denied() => Ok((None, Found::Denied)),
            Ok(Err(error)) => Err(words(error)),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    async fn facts(&self, asked: Answer, platform: &Platform) -> Asked<ImageFacts> {
        let (client, family) = match asked {
            Err(_) => return Asked::Unknown("the registry's answer".to_owned()),
            Ok((_, Found::Denied)) => {
                return Asked::Known(ImageFacts { denied: true, ..ImageFacts::default() });
            }
            Ok((_, Found::Nothing)) => return Asked::Known(ImageFacts::default()),
            Ok((client, Found::Image(family))) => (client, family),
        };
        let image = family.image(platform);
        let config = match image.and_then(registry::Manifest::config).zip(client) {
            Some((digest, client)) => self.config(&client, digest).await,
            None => None,
        };
        let mut platforms = family.platforms();
        if platforms.is_empty() {
            let of_config = config.as_ref().map(|config| config.platform.clone());
            platforms.extend(of_config.filter(|platform| !platform.architecture.is_empty()));
        }
        Asked::Known(ImageFacts {
            exists: true,
            denied: false,
            identities: family.identities(),
            platforms,
            layers: image.map(|image| image.layers().to_vec()).unwrap_or_default(),
            config,
        })
    }

    async fn config(&self, client: &Client, digest: &Digest) -> Option<Config> {
        tokio::time::timeout_at(self.until, client.config(digest)).await.ok()?.ok()?
    }
}

fn trouble(asked: &Answer) -> Option<String> {
    match asked {
        Err(why) => Some(why.clone()),
        Ok((_, Found::Denied)) => Some("it denies access to these credentials".to_owned()),
        Ok(_) => None,
    }
}

/// Returns the platform to look at: what the template asks for, else what most nodes are.
fn platform(template: &PodSpec, nodes: &[Node]) -> Platform {
    let asked = template.node_selector.as_ref().and_then(|labels| labels.get("kubernetes.io/arch")).cloned();
    let most = || {
        let infos = nodes.iter().filter_map(|node| node.status.as_ref()?.node_info.as_ref());
        let all: Vec<&String> = infos.map(|info| &info.architecture).collect();
        let count = |architecture: &String| all.iter().filter(|other| **other == architecture).count();
        all.iter().max_by_key(|architecture| count(architecture)).map(|architecture| (*architecture).clone())
    };
    let default = Platform::default();
    Platform { architecture: asked.or_else(most).unwrap_or(default.architecture.clone()), ..default }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rollout::fixtures::mk;

    fn node(architecture: &str) -> Node {
        mk(json!({ "status": { "nodeInfo": {
            "architecture": architecture, "operatingSystem": "linux", "bootID": "", "kernelVersion": "",
            "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "osImage": "", "systemUUID": "",
            "containerRuntimeVersion": "",
        } } }))
    }

    #[test]
    fn config_is_read_for_the_platform_that_the_template_or_most_nodes_have() {
        let nodes = [node("arm64"), node("amd64"), node("arm64")];
        assert_eq!(platform(&PodSpec::default(), &nodes).architecture, "arm64");
        assert_eq!(platform(&PodSpec::default(), &[]).architecture, "amd64");
        let selective: PodSpec =
            mk(json!({ "containers": [], "nodeSelector": { "kubernetes.io/arch": "amd64" } }));
        assert_eq!(platform(&selective, &nodes).architecture, "amd64");
    }
}
