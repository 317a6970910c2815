//! The ways into the lab: an administrator by token and by certificate, and a service account with no rights of
//! its own. A RoleBinding to `deployer` in `rollway` comes with the applications' manifests.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::api::Api;
use super::certificates::Identity;

/// The namespace of the least-privilege service account.
const NAMESPACE: &str = "rollway";
/// The least-privilege service account.
const DEPLOYER: &str = "deployer";
/// A lab that is older than this has to be started anew.
const DEPLOYER_SECONDS: u32 = 30 * 24 * 3600;

/// Creates the service account and returns a token for it.
pub(crate) async fn deployer(api: &Api) -> anyhow::Result<String> {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    api.create("/api/v1/namespaces", &namespace).await?;
    let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": DEPLOYER } });
    api.create(&accounts, &account).await?;
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": { "expirationSeconds": DEPLOYER_SECONDS },
    });
    let answer = api.create(&format!("{accounts}/{DEPLOYER}/token"), &request).await?;
    let token = answer["status"]["token"].as_str().context("the API server gave no token")?;
    Ok(token.to_owned())
}

/// What the kubeconfig holds.
pub(crate) struct Accounts<'a> {
    /// The API server.
    pub(crate) server: &'a str,
    /// The certificate authority, in PEM.
    pub(crate) authority: &'a str,
    /// The administrator's token.
    pub(crate) admin_token: &'a str,
    /// The administrator's certificate.
    pub(crate) certificate: &'a Identity,
    /// The service account's token.
    pub(crate) deployer_token: &'a str,
}

/// Renders the kubeconfig.
pub(crate) fn kubeconfig(accounts: &Accounts<'_>) -> String {
    let Accounts { server, admin_token, deployer_token, .. } = accounts;
    let authority = STANDARD.encode(accounts.authority);
    let certificate = STANDARD.encode(&accounts.certificate.certificate);
    let key = STANDARD.encode(&accounts.certificate.key);
    format!(
        "apiVersion: v1
kind: Config
current-context: admin
clusters:
- name: lab
  cluster:
    server: {server}
    certificate-authority-data: {authority}
contexts:
- name: admin
  context: {{cluster: lab, user: admin}}
- name: certificate
  context: {{cluster: lab, user: certificate}}
- name: deployer
  context: {{cluster: lab, user: deployer}}
users:
- name: admin
  user:
    token: {admin_token}
- name: certificate
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
- name: deployer
  user:
    token: {deployer_token}
"
    )
}
