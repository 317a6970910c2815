//! A registry in this process: images that tests put in, four ways to log in, faults on demand, and
//! a record of every request in the order it came.

mod server;
mod tls;
mod uploads;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) use uploads::Rules;

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A running registry; it stops when it is dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    shared: Arc<Shared>,
    ca: Option<String>,
    client: Option<(String, String)>,
    /// Owns the threads that answer.
    _runtime: tokio::runtime::Runtime,
}

/// What a registry wants to see.
#[derive(Clone, Default)]
pub(crate) enum Login {
    /// Nothing.
    #[default]
    None,
    /// This user and password on every request.
    Basic(&'static str, &'static str),
    /// A token from this registry's own `/token`, which wants this user and password.
    Bearer(&'static str, &'static str),
    /// A token that anyone gets.
    Anonymous,
}

/// What happens to a request instead of, or on top of, the right answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// This status, with these headers and this body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The right answer with one header replaced; without a value it is left out.
    Header(&'static str, Option<String>),
    /// The right answer with another body.
    Body(String),
    /// The connection is closed without an answer.
    Close,
    /// The right answer, this much later.
    Late(Duration),
    /// A body without an end, of which a byte comes now and then.
    Drip(Duration),
    /// The right answer, but the connection breaks after so many bytes of its body.
    Cut(usize),
    /// The right answer, as from a registry that knows no ranges.
    Whole,
    /// The right answer to a token that has expired by now.
    Expired,
}

impl Fault {
    /// A bare status.
    pub(crate) fn status(status: u16) -> Self {
        Self::Answer(status, Vec::new(), String::new())
    }

    /// A status with the errors that the distribution API defines.
    pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Self {
        Self::Answer(status, Vec::new(), json!({"errors": [{"code": code, "message": message}]}).to_string())
    }

    /// A status with a `Retry-After`.
    pub(crate) fn wait(status: u16, retry_after: &str) -> Self {
        Self::Answer(status, vec![("retry-after", retry_after.to_owned())], String::new())
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `METHOD /path`, with the query.
    pub(crate) line: String,
    /// Its `Authorization`.
    pub(crate) authorization: Option<String>,
    /// Its `Range`.
    pub(crate) range: Option<String>,
}

/// What a test and the server's threads share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    login: Login,
    realm: Option<String>,
    /// The number of the token that is valid now; earlier ones have expired.
    token: u32,
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    blobs: BTreeMap<(String, String), Vec<u8>>,
    uploads: uploads::Uploads,
    /// Manifests that are not shown yet, and after how many questions they are.
    hidden: BTreeMap<(String, String), u32>,
    faults: BTreeMap<String, VecDeque<Fault>>,
    seen: Vec<Seen>,
}

impl Registry {
    /// Starts a registry that speaks plain http.
    pub(crate) fn plain() -> Self {
        Self::start(None)
    }

    /// Starts a registry behind a certificate of a private CA.
    pub(crate) fn tls() -> Self {
        Self::start(Some(tls::Certificates::new()))
    }

    /// Starts a registry whose certificate ran out long ago.
    pub(crate) fn expired_tls() -> Self {
        let expired = |leaf: &mut rcgen::CertificateParams| {
            leaf.not_before = rcgen::date_time_ymd(2020, 1, 1);
            leaf.not_after = rcgen::date_time_ymd(2021, 1, 1);
        };
        Self::start(Some(tls::Certificates::of(&["127.0.0.1"], expired)))
    }

    /// Starts a registry whose certificate counts from a day that is far away.
    pub(crate) fn future_tls() -> Self {
        let early = |leaf: &mut rcgen::CertificateParams| leaf.not_before = rcgen::date_time_ymd(2090, 1, 1);
        Self::start(Some(tls::Certificates::of(&["127.0.0.1"], early)))
    }

    /// Starts a registry whose certificate is for another name.
    pub(crate) fn misnamed_tls() -> Self {
        Self::start(Some(tls::Certificates::of(&["registry.example.com"], |_| {})))
    }

    /// Starts a registry that also wants a certificate of its clients.
    pub(crate) fn mutual_tls() -> Self {
        Self::start(Some(tls::Certificates::mutual()))
    }

    fn start(certificates: Option<tls::Certificates>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Arc::new(Shared::default());
        let ca = certificates.as_ref().map(|certificates| certificates.ca.clone());
        let client = certificates.as_ref().map(|certificates| certificates.client.clone());
        let address = runtime.block_on(server::start(shared.clone(), certificates));
        Self { address, shared, ca, client, _runtime: runtime }
    }

    /// Sets what it wants to see.
    pub(crate) fn with_login(self, login: Login) -> Self {
        self.state().login = login;
        self
    }

    /// Sets where it sends its clients for a token.
    pub(crate) fn with_realm(self, realm: &str) -> Self {
        self.state().realm = Some(realm.to_owned());
        self
    }

    /// Sets how it takes what is pushed.
    pub(crate) fn with_rules(self, rules: Rules) -> Self {
        self.state().uploads.rules = rules;
        self
    }

    /// Returns the kind and the bytes of a manifest.
    pub(crate) fn stored(&self, repository: &str, reference: &str) -> Option<(String, Vec<u8>)> {
        self.state().manifests.get(&(repository.to_owned(), reference.to_owned())).cloned()
    }

    /// Returns the digest that a tag names.
    pub(crate) fn tagged(&self, repository: &str, tag: &str) -> Option<String> {
        self.stored(repository, tag).map(|(_, bytes)| digest(&bytes))
    }

    /// Returns whether it has a blob.
    pub(crate) fn has_blob(&self, repository: &str, digest: &str) -> bool {
        self.state().blobs.contains_key(&(repository.to_owned(), digest.to_owned()))
    }

    /// Returns the name of a repository here.
    pub(crate) fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// Returns host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Returns the certificate to trust, as PEM.
    pub(crate) fn ca(&self) -> &str {
        self.ca.as_deref().expect("only a TLS registry has a CA")
    }

    /// Returns a certificate and its key that a registry which wants one takes, as PEM.
    pub(crate) fn client(&self) -> (&str, &str) {
        let (cert, key) = self.client.as_ref().expect("only a TLS registry has client certificates");
        (cert, key)
    }

    /// Stores an image with these labels under `tag` and returns its digest.
    pub(crate) fn image(&self, repository: &str, tag: &str, labels: &[(&str, &str)]) -> String {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let config = json!({
            "os": "linux", "architecture": "amd64", "created": "2026-07-01T10:00:00Z",
            "config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": []},
        });
        self.layered(repository, tag, &config, &[])
    }

    /// Stores an image with this config and these layers under `tag` and returns its digest.
    pub(crate) fn layered(&self, repository: &str, tag: &str, config: &Value, layers: &[Vec<u8>]) -> String {
        let blob = |media_type: &str, bytes: &[u8]| {
            let digest = self.blob(repository, bytes.to_vec());
            json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
        };
        let layers: Vec<_> =
            layers.iter().map(|layer| blob("application/vnd.oci.image.layer.v1.tar+gzip", layer)).collect();
        let config = blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers, "config": config,
            "annotations": {"org.example.note": "of the manifest"},
        });
        self.manifest(repository, tag, MANIFEST, &manifest.to_string())
    }

    /// Stores an image that says it was built then, under `tag`, and returns its digest.
    pub(crate) fn dated(&self, repository: &str, tag: &str, created: &str) -> String {
        let config = json!({"os": "linux", "architecture": "amd64", "created": created, "config": {}});
        let config = self.blob(repository, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 1},
        });
        self.manifest(repository, tag, MANIFEST, &manifest.to_string())
    }

    /// Stores an index of these `(platform, digest)` under `tag` and returns its digest.
    pub(crate) fn index(&self, repository: &str, tag: &str, children: &[(&str, &str)]) -> String {
        let entry = |(platform, digest): &(&str, &str)| {
            let (os, architecture) = platform.split_once('/').unwrap();
            json!({"mediaType": MANIFEST, "size": 1, "digest": digest,
                "platform": {"os": os, "architecture": architecture}})
        };
        let manifests: Vec<_> = children.iter().map(entry).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.manifest(repository, tag, INDEX, &index.to_string())
    }

    /// Stores any manifest under `tag` and its digest, which is returned.
    pub(crate) fn manifest(&self, repository: &str, tag: &str, media_type: &str, text: &str) -> String {
        let digest = digest(text.as_bytes());
        for reference in [tag, &digest] {
            let key = (repository.to_owned(), reference.to_owned());
            self.state().manifests.insert(key, (media_type.to_owned(), text.as_bytes().to_vec()));
        }
        digest
    }

    /// Stores a blob and returns its digest.
    pub(crate) fn blob(&self, repository: &str, bytes: Vec<u8>) -> String {
        let digest = digest(&bytes);
        self.state().blobs.insert((repository.to_owned(), digest.clone()), bytes);
        digest
    }

    /// Forgets a tag or a digest.
    pub(crate) fn forget(&self, repository: &str, reference: &str) {
        self.state().manifests.remove(&(repository.to_owned(), reference.to_owned()));
    }

    /// Gives the next request whose line starts with `line` this fault; faults for the same line
    /// queue up.
    pub(crate) fn fault(&self, line: &str, fault: Fault) {
        self.state().faults.entry(line.to_owned()).or_default().push_back(fault);
    }

    /// Lets every token that was given out expire.
    pub(crate) fn expire_tokens(&self) {
        self.state().token += 1;
    }

    /// Returns the requests so far, as `METHOD /path` without queries, and forgets them.
    pub(crate) fn requests(&self) -> Vec<String> {
        let path = |seen: &Seen| seen.line.split('?').next().unwrap_or_default().to_owned();
        self.seen().iter().map(path).collect()
    }

    /// Returns the requests so far with all that was recorded, and forgets them.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state().seen)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Returns the digest of some content.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
