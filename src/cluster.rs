//! The way to a cluster: which of the three kinds of access the keys describe, what a kubeconfig
//! says, and a client whose every request has a deadline. What is done with the cluster is not here.

use std::time::Duration;

use kube::api::ListParams;
use kube::client::ClientBuilder;
use kube::{Api, Client, Config};

mod access;
mod cause;
mod deadline;
mod error;
mod keys;
mod kubeconfig;
mod store;

pub use access::{
    Access, flag, flag_schema, optional_secret, optional_text, text_or_mapping, text_or_mapping_schema,
    whole_number, whole_number_schema,
};
pub use error::Error;
pub(crate) use keys::{is_name, with_cluster_keys};
pub(crate) use store::Store;

/// How long a TCP and TLS handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the first answer may take, retries included: a person is waiting for "is it there?".
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the credential plugin of a kubeconfig may take.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Backstop against a peer that vanishes in the middle of an answer. The API server ends a watch
/// within 10 minutes and sends a bookmark each minute, so a watch that is alive is never cut.
const READ_TIMEOUT: Duration = Duration::from_secs(150);
/// More names than anybody wants to choose from.
const NAMES_LISTED: u32 = 200;

/// An API server that has answered.
#[derive(Clone)]
pub struct Cluster {
    /// The client; requests other than watches and followed logs end within a minute.
    pub client: Client,
    /// The namespace to work in.
    pub namespace: String,
    /// The URL of the API server, for people.
    pub address: String,
    /// What the API server says it is (`v1.34.1`), when it says so.
    pub version: Option<String>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Cluster")
            .field("namespace", &self.namespace)
            .field("address", &self.address)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Explains an error of the client; `doing` completes "failed to …" and names the object.
    #[must_use]
    pub fn describe(&self, error: kube::Error, doing: &str) -> Error {
        error::describe(error, doing, &self.address)
    }

    /// Explains an error of a watch in the same words.
    #[must_use]
    pub fn describe_watch(&self, error: kube::runtime::watcher::Error, doing: &str) -> Error {
        use kube::runtime::watcher::Error as Watch;
        match error {
            Watch::InitialListFailed(error) | Watch::WatchStartFailed(error) | Watch::WatchFailed(error) => {
                self.describe(error, doing)
            }
            Watch::WatchError(status) => self.describe(kube::Error::Api(status), doing),
            error @ Watch::NoResourceVersion => {
                Error::Unexpected { doing: doing.to_owned(), why: error.to_string() }
            }
        }
    }

    /// Returns the error for a workload that is not there, with the names that are, as far as the
    /// credentials may list them.
    pub async fn no_workload<K>(&self, kind: &'static str, namespace: &str, name: &str) -> Error
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let workloads: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let listed = workloads.list_metadata(&ListParams::default().limit(NAMES_LISTED)).await;
        let known =
            listed.ok().map(|list| list.items.into_iter().filter_map(|item| item.metadata.name).collect());
        Error::NoWorkload { kind, namespace: namespace.to_owned(), name: name.to_owned(), known }
    }
}

/// Connects with what `access` describes, and asks the API server for its version: an address that
/// is wrong, a certificate nobody trusts and a token nobody accepts show here, not in mid-rollout.
///
/// # Errors
///
/// Returns an error that names the key at fault, or what the API server said.
pub async fn connect(access: &Access) -> Result<Cluster, Error> {
    let mut config = access.config().await?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    config.default_retry = true;
    let namespace = config.default_namespace.clone();
    let address = error::address(&config.cluster_url);
    let client = client(config, &address).await?;
    let mut cluster = Cluster { client, namespace, address, version: None };
    cluster.version = probe(&cluster).await?;
    Ok(cluster)
}

/// Builds the client on a thread of its own: kube runs a kubeconfig's credential plugin while it
/// builds, and would block the only thread that listens for SIGTERM.
async fn client(config: Config, address: &str) -> Result<Client, Error> {
    let runtime = tokio::runtime::Handle::current();
    let (done, built) = tokio::sync::oneshot::channel();
    let build = move || {
        let _entered = runtime.enter();
        let client =
            ClientBuilder::try_from(config).map(|builder| builder.with_layer(&deadline::Layer).build());
        // Nobody listens any more when the plugin took too long.
        let _ = done.send(client);
    };
    std::thread::spawn(build);
    match tokio::time::timeout(PLUGIN_TIMEOUT, built).await {
        Ok(Ok(client)) => client.map_err(|error| error::describe(error, "prepare the client", address)),
        Ok(Err(_)) => Err(Error::Unexpected {
            doing: "prepare the client".to_owned(),
            why: "its thread ended without an answer".to_owned(),
        }),
        Err(_) => Err(Error::PluginTimeout { seconds: PLUGIN_TIMEOUT.as_secs() }),
    }
}

/// Returns the server's version, or `None` where even that is forbidden.
async fn probe(cluster: &Cluster) -> Result<Option<String>, Error> {
    let doing = "ask for the version of the API server";
    match tokio::time::timeout(PROBE_TIMEOUT, cluster.client.apiserver_version()).await {
        Ok(Ok(info)) => Ok(Some(info.git_version)),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => Ok(None),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            Err(Error::NotApiServer { address: cluster.address.clone() })
        }
        Ok(Err(kube::Error::SerdeError(_))) => Err(Error::NotApiServer { address: cluster.address.clone() }),
        Ok(Err(error)) => Err(cluster.describe(error, doing)),
        Err(_) => Err(Error::Unreachable {
            address: cluster.address.clone(),
            why: format!("no answer within {} s", PROBE_TIMEOUT.as_secs()),
        }),
    }
}
