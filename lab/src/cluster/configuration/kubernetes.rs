//! The configuration of the kubelet and kube-proxy, and the kubeconfigs of the parts.

use serde_json::json;

use super::BridgeNetfilter;
use crate::cluster::place::{INSIDE, NODE};

/// The kubelet's configuration. JSON is YAML.
pub(super) fn kubelet() -> String {
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": format!("{INSIDE}/pki/ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": format!("{INSIDE}/pki/kubelet-server.crt"),
        "tlsPrivateKeyFile": format!("{INSIDE}/pki/kubelet-server.key"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "resolvConf": format!("{INSIDE}/resolv.conf"),
        "volumePluginDir": format!("{INSIDE}/volume-plugins"),
        // The machine may have swap, cgroup v1 and little memory; the lab has a cgroup tree of its own.
        "failSwapOn": false,
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "evictionHard": { "memory.available": "50Mi" },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        // Lowering it needs CAP_SYS_RESOURCE, which a machine in a sandbox may lack.
        "oomScoreAdj": 0,
        // Tests read events and roll many pods at once: nothing may be dropped or queued here. With 0 the
        // kubelet posts five events a second, and a verdict that waits for one waits for minutes.
        "eventRecordQPS": 1000,
        "eventBurst": 2000,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "registryPullQPS": 0,
        "serializeImagePulls": false,
    });
    format!("{configuration:#}\n")
}

/// kube-proxy's configuration.
pub(super) fn proxy(bridge_netfilter: BridgeNetfilter) -> String {
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": format!("{INSIDE}/kube-proxy.kubeconfig") },
        "mode": "iptables",
        "clusterCIDR": "10.244.0.0/16",
        "hostnameOverride": NODE,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        "iptables": { "masqueradeAll": bridge_netfilter == BridgeNetfilter::Missing },
        // These limits belong to the whole machine and cannot be set in a network namespace.
        "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
    });
    format!("{configuration:#}\n")
}

/// The kubeconfig of the part whose certificate is called `name`.
pub(super) fn kubeconfig(name: &str, api: u16) -> String {
    let configuration = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": name } }],
        "clusters": [{ "name": "lab", "cluster": {
            "server": format!("https://127.0.0.1:{api}"),
            "certificate-authority": format!("{INSIDE}/pki/ca.crt"),
        } }],
        "users": [{ "name": name, "user": {
            "client-certificate": format!("{INSIDE}/pki/{name}.crt"),
            "client-key": format!("{INSIDE}/pki/{name}.key"),
        } }],
    });
    format!("{configuration:#}\n")
}
