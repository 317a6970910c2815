//! Renders every file that the parts read. Pure: from the plan to texts; `up` writes them.

mod containerd;
mod kubernetes;
mod registry;

use super::certificates::{API_SERVER_NAMES, Authority, Identity, KUBELET_NAMES, REGISTRY_NAMES};
use super::kpack::CONTROLLER;
use super::place::NODE;
use super::plan::Plan;

/// A file below the lab's directory; all are readable by root only.
#[derive(Debug)]
pub(crate) struct File {
    /// The path below the lab's directory.
    pub(crate) path: String,
    /// The contents.
    pub(crate) text: String,
}

impl File {
    fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

/// The clients of the API server among the parts: the file's name, the user and the group.
const CLIENTS: [(&str, &str, Option<&str>); 5] = [
    ("kube-controller-manager", "system:kube-controller-manager", None),
    ("kube-scheduler", "system:kube-scheduler", None),
    ("kube-proxy", "system:kube-proxy", None),
    ("kubelet", "system:node:lab", Some("system:nodes")),
    ("apiserver-to-kubelet", "rollway-lab-apiserver", Some("system:masters")),
];

/// Renders all files of the lab; `htpasswd` is the line that lets the registry's user in.
pub(crate) fn render(
    plan: &Plan,
    authority: &Authority,
    htpasswd: &str,
    bridge_netfilter: BridgeNetfilter,
) -> anyhow::Result<Vec<File>> {
    let mut files = vec![
        File::new("pki/ca.crt", authority.certificate()),
        File::new(
            "tokens.csv",
            format!("{},rollway-admin,rollway-admin,\"system:masters\"\n", plan.admin_token),
        ),
        // Nothing answers names in the lab. A resolver that refuses at once is better than one that times out.
        File::new("resolv.conf", "nameserver 127.0.0.1\n"),
        File::new("kubelet.yaml", kubernetes::kubelet()),
        File::new("kube-proxy.yaml", kubernetes::proxy(bridge_netfilter)),
        File::new("containerd.toml", containerd::configuration()),
        File::new("cni/10-lab.conflist", containerd::network()),
        File::new("registry/htpasswd", htpasswd),
    ];
    files.extend(identity("service-accounts", &authority.client("service-accounts", None)?));
    files.extend(identity("apiserver", &authority.server("kube-apiserver", &API_SERVER_NAMES)?));
    files.extend(identity(
        "kubelet-server",
        &authority.server(&format!("system:node:{NODE}"), &KUBELET_NAMES)?,
    ));
    files.extend(identity("registry", &authority.server("registry", &REGISTRY_NAMES)?));
    let kpack = plan.kpack.as_ref().map(|_| (CONTROLLER, CONTROLLER, Some("system:masters")));
    for (name, user, group) in CLIENTS.into_iter().chain(kpack) {
        files.extend(identity(name, &authority.client(user, group)?));
        files.push(File::new(format!("{name}.kubeconfig"), kubernetes::kubeconfig(name, plan.ports.api)));
    }
    files.extend(registry::files(plan.ports));
    files.extend(containerd::hosts(plan.ports));
    Ok(files)
}

/// Whether iptables sees packets between two pods on the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BridgeNetfilter {
    /// It does; a reply finds its way back through the Service's address by itself.
    Present,
    /// It does not; kube-proxy must masquerade all traffic to Services.
    Missing,
}

fn identity(name: &str, identity: &Identity) -> [File; 2] {
    [
        File::new(format!("pki/{name}.crt"), identity.certificate.as_str()),
        File::new(format!("pki/{name}.key"), identity.key.as_str()),
    ]
}

#[cfg(test)]
mod tests;
