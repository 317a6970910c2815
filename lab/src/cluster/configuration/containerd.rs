//! The configuration of containerd: the runtime, the pods' network and where images may be pulled from.

use serde_json::json;

use super::File;
use crate::cluster::place::{INSIDE, NODE_ADDRESS, SANDBOX_IMAGE};
use crate::cluster::plan::Ports;

/// containerd's own configuration.
pub(super) fn configuration() -> String {
    format!(
        r#"version = 3
root = "{INSIDE}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
address = "/run/containerd/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "{INSIDE}/opt"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{SANDBOX_IMAGE}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "{INSIDE}/registries"

[plugins."io.containerd.cri.v1.runtime"]
# Without CAP_SYS_RESOURCE runc could not give a pod the score that Kubernetes asks for, and would die.
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{INSIDE}/cni"

[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"#
    )
}

/// The pods' network: one bridge, addresses from the node's range, host ports.
pub(super) fn network() -> String {
    let list = json!({
        "cniVersion": "1.0.0",
        "name": "lab",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni",
                    "ranges": [[{ "subnet": "10.244.0.0/24" }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    format!("{list:#}\n")
}

/// How to speak to each face of the registry, by each address that it has.
pub(super) fn hosts(ports: Ports) -> Vec<File> {
    let mut files = Vec::new();
    for address in ["127.0.0.1", NODE_ADDRESS] {
        for (port, scheme) in [(ports.plain, "http"), (ports.tls, "https"), (ports.auth, "https")] {
            let url = format!("{scheme}://{address}:{port}");
            let authority =
                if scheme == "https" { format!("ca = \"{INSIDE}/pki/ca.crt\"\n") } else { String::new() };
            files.push(File::new(
                format!("registries/{address}:{port}/hosts.toml"),
                format!(
                    "server = \"{url}\"\n\n[host.\"{url}\"]\ncapabilities = [\"pull\", \"resolve\"]\n{authority}"
                ),
            ));
        }
    }
    files
}
