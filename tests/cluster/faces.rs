//! The three faces of the lab's registry: what a pipeline needs to get in, and what tests do to them.

use std::collections::BTreeMap;
use std::path::Path;

use rollway_lab::cluster::Lab;
use rollway_lab::image::{Credentials, Entry, Image, Layer, Parts, Registry};
use serde_json::{Value, json};

/// A repository in one of the faces.
pub(crate) struct Face {
    /// `host:port/path`.
    pub(crate) repository: String,
    /// All that a pipeline needs to say to get in.
    pub(crate) source: Value,
    base: String,
    path: String,
    registry: Registry,
}

/// The authority that signed the registries' certificates, in PEM.
pub(crate) fn authority() -> String {
    std::fs::read_to_string(lab().registry.ca).unwrap()
}

fn lab() -> Lab {
    Lab::load(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

impl Face {
    /// Plain http.
    pub(crate) fn plain(path: &str) -> Self {
        let base = format!("http://{}", lab().registry.plain);
        Self::new(&base, path, Registry::new(&base, None, None).unwrap(), json!({}))
    }

    /// TLS with a private authority.
    pub(crate) fn tls(path: &str) -> Self {
        let lab = lab().registry;
        let base = format!("https://{}", lab.tls);
        let registry = Registry::new(&base, Some(&lab.ca), None).unwrap();
        Self::new(&base, path, registry, json!({ "ca_certs": [authority()] }))
    }

    /// TLS with a private authority, and a password.
    pub(crate) fn auth(path: &str) -> Self {
        let lab = lab().registry;
        let base = format!("https://{}", lab.auth);
        let credentials = Credentials { username: lab.username.clone(), password: lab.password.clone() };
        let registry = Registry::new(&base, Some(&lab.ca), Some(credentials)).unwrap();
        let source = json!({ "ca_certs": [authority()], "username": lab.username, "password": lab.password });
        Self::new(&base, path, registry, source)
    }

    fn new(base: &str, path: &str, registry: Registry, mut source: Value) -> Self {
        let host = base.split_once("://").unwrap().1;
        let repository = format!("{host}/{path}");
        source["repository"] = repository.as_str().into();
        source["tag"] = "latest".into();
        Self { repository, source, base: base.to_owned(), path: path.to_owned(), registry }
    }

    /// Returns the source without one of its keys.
    pub(crate) fn source_without(&self, key: &str) -> Value {
        let mut source = self.source.clone();
        source.as_object_mut().unwrap().remove(key).unwrap();
        source
    }

    /// Lets the tag `latest` point at an image with nothing but `content` in it; returns its digest.
    pub(crate) async fn push(&self, content: &str) -> String {
        let files = BTreeMap::from([("content".to_owned(), Entry::text(content))]);
        let layers = vec![Layer::new("content", &files).unwrap()];
        let image = Image::new(Parts { layers, ..Parts::default() });
        self.registry.push(&image, &self.path, "latest").await.unwrap()
    }

    /// Deletes an image, and with it the tags that point at it. Only the plain face lets anybody in.
    pub(crate) async fn delete(&self, digest: &str) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/v2/{}/manifests/{digest}", self.base, self.path);
        client.delete(url).send().await.unwrap().error_for_status().unwrap();
    }
}
