//! The parts of the lab: the program, the arguments and the port by which each shows that it runs. Pure.

use super::kpack;
use super::place::{INSIDE, NODE, NODE_ADDRESS, NODE_PORTS};
use super::plan::{Plan, Ports};

/// One long-running program.
pub(crate) struct Part {
    /// The name in logs, progress and `lab logs`.
    pub(crate) name: &'static str,
    /// The program; found in the lab's own directory first, then in the system's.
    pub(crate) program: &'static str,
    /// The arguments.
    pub(crate) arguments: Vec<String>,
    /// Its environment, besides what every part has.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// How the part shows that it is there.
    pub(crate) ready: Ready,
}

/// How a part shows that it is there.
pub(crate) enum Ready {
    /// It accepts connections on this port of 127.0.0.1.
    Port(u16),
    /// Its socket accepts connections.
    Socket(&'static str),
    /// `/readyz` of the API server on this port says so.
    Readyz(u16),
}

impl Ready {
    /// The port of 127.0.0.1 on which it listens, where it does.
    #[cfg(test)]
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Port(port) | Self::Readyz(port) => Some(*port),
            Self::Socket(_) => None,
        }
    }
}

/// The parts of a lab in the groups in which they start: a group starts when all of the one before are ready.
pub(crate) fn groups(plan: &Plan) -> Vec<Vec<Part>> {
    let mut groups = cluster(plan.ports);
    if plan.kpack.is_some() {
        groups.push(kpack::parts(plan.ports));
    }
    groups
}

/// The cluster's own parts.
fn cluster(ports: Ports) -> Vec<Vec<Part>> {
    let mut first = vec![etcd(), containerd()];
    first.extend(registries(ports));
    vec![first, vec![api_server(ports.api)], vec![controller_manager(), scheduler(), kubelet(), proxy()]]
}

fn part<const N: usize>(name: &'static str, ready: Ready, arguments: [String; N]) -> Part {
    Part { name, program: name, arguments: arguments.into(), environment: Vec::new(), ready }
}

fn etcd() -> Part {
    part(
        "etcd",
        Ready::Port(2379),
        [
            "--name=lab".to_owned(),
            format!("--data-dir={INSIDE}/etcd"),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            "--log-level=warn".to_owned(),
            // The lab's state is worth nothing after a crash; waiting for the disk would only slow it.
            "--unsafe-no-fsync".to_owned(),
        ],
    )
}

fn containerd() -> Part {
    let configuration = format!("--config={INSIDE}/containerd.toml");
    part("containerd", Ready::Socket("/run/containerd/containerd.sock"), [configuration])
}

fn registries(ports: Ports) -> [Part; 3] {
    [
        ("registry-plain", "plain", ports.plain),
        ("registry-tls", "tls", ports.tls),
        ("registry-auth", "auth", ports.auth),
    ]
    .map(|(name, face, port)| Part {
        name,
        program: "docker-registry",
        arguments: vec!["serve".to_owned(), format!("{INSIDE}/registry/{face}.yaml")],
        environment: Vec::new(),
        ready: Ready::Port(port),
    })
}

fn api_server(port: u16) -> Part {
    let [first, last] = NODE_PORTS;
    let pki = format!("{INSIDE}/pki");
    part(
        "kube-apiserver",
        Ready::Readyz(port),
        [
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            "--bind-address=0.0.0.0".to_owned(),
            format!("--advertise-address={NODE_ADDRESS}"),
            format!("--secure-port={port}"),
            format!("--cert-dir={INSIDE}/apiserver"),
            format!("--tls-cert-file={pki}/apiserver.crt"),
            format!("--tls-private-key-file={pki}/apiserver.key"),
            format!("--client-ca-file={pki}/ca.crt"),
            format!("--token-auth-file={INSIDE}/tokens.csv"),
            format!("--service-account-key-file={pki}/service-accounts.crt"),
            format!("--service-account-signing-key-file={pki}/service-accounts.key"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            format!("--service-node-port-range={first}-{last}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--kubelet-certificate-authority={pki}/ca.crt"),
            format!("--kubelet-client-certificate={pki}/apiserver-to-kubelet.crt"),
            format!("--kubelet-client-key={pki}/apiserver-to-kubelet.key"),
        ],
    )
}

fn controller_manager() -> Part {
    part(
        "kube-controller-manager",
        Ready::Port(10257),
        [
            format!("--kubeconfig={INSIDE}/kube-controller-manager.kubeconfig"),
            format!("--service-account-private-key-file={INSIDE}/pki/service-accounts.key"),
            format!("--root-ca-file={INSIDE}/pki/ca.crt"),
            format!("--cert-dir={INSIDE}/controller-manager"),
            "--bind-address=127.0.0.1".to_owned(),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            // Many tests at once are many controllers' work; the usual 20 requests a second would queue it.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
            // A test of a node that hangs waits that long; the kubelet is heard of every ten seconds.
            "--node-monitor-grace-period=20s".to_owned(),
            "--allocate-node-cidrs=true".to_owned(),
            "--cluster-cidr=10.244.0.0/16".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        ],
    )
}

fn scheduler() -> Part {
    part(
        "kube-scheduler",
        Ready::Port(10259),
        [
            format!("--kubeconfig={INSIDE}/kube-scheduler.kubeconfig"),
            format!("--cert-dir={INSIDE}/scheduler"),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
        ],
    )
}

fn kubelet() -> Part {
    part(
        "kubelet",
        Ready::Port(10248),
        [
            format!("--config={INSIDE}/kubelet.yaml"),
            format!("--kubeconfig={INSIDE}/kubelet.kubeconfig"),
            format!("--cert-dir={INSIDE}/kubelet"),
            "--root-dir=/var/lib/kubelet".to_owned(),
            format!("--hostname-override={NODE}"),
            format!("--node-ip={NODE_ADDRESS}"),
        ],
    )
}

fn proxy() -> Part {
    part("kube-proxy", Ready::Port(10256), [format!("--config={INSIDE}/kube-proxy.yaml")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(kpack: Option<&str>) -> Plan {
        Plan {
            ports: Ports { api: 1, plain: 2, tls: 3, auth: 4 },
            admin_token: String::new(),
            data: "/data".into(),
            programs: "/programs".into(),
            kpack: kpack.map(Into::into),
            logs: "/logs".into(),
        }
    }

    #[test]
    fn every_part_has_a_name_of_its_own_and_waits_for_a_port_of_its_own() {
        let parts: Vec<_> = groups(&plan(Some("/kpack"))).into_iter().flatten().collect();
        let names: std::collections::BTreeSet<_> = parts.iter().map(|part| part.name).collect();
        let waits: std::collections::BTreeSet<_> =
            parts.iter().filter_map(|part| part.ready.port()).collect();
        assert_eq!(names.len(), parts.len());
        assert_eq!(waits.len(), parts.len() - 1);
    }

    #[test]
    fn the_api_server_starts_before_those_that_fail_without_it() {
        let groups = groups(&plan(Some("/kpack")));
        assert_eq!(groups[1][0].name, "kube-apiserver");
        assert!(groups[2].iter().any(|part| part.name == "kube-scheduler"));
        assert_eq!(groups[3][0].name, kpack::CONTROLLER);
    }

    #[test]
    fn kpack_is_there_only_when_it_is_asked_for() {
        assert!(groups(&plan(None)).iter().flatten().all(|part| part.name != kpack::CONTROLLER));
    }
}
