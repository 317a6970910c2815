//! A node without containers: a Node object, its Lease, and a hand that writes into the status of every pod
//! bound to it what a kubelet would. The control plane is the real one, and hundreds of pods cost little.
//! What a container does is decided by its image, how long it takes by a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::world::{PATIENCE, World};

/// The label that pods select the node by, and the taint that keeps all others away.
const KEY: &str = "test.rollway.dev/fake";

/// What the containers of an image do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// They get ready.
    #[default]
    Ready,
    /// They run, and their probe never succeeds.
    NeverReady,
    /// They exit with 1, again and again.
    Crash,
}

/// Numbers that a seed decides.
pub(crate) struct Seeded(AtomicU64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        // SplitMix64.
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Returns one of `choices`.
    pub(crate) fn pick<T: Copy>(&self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }

    /// Waits for some milliseconds.
    async fn pause(&self, least: u64, most: u64) {
        tokio::time::sleep(Duration::from_millis(least + self.below(most - least))).await;
    }
}

/// The node, alive until it is removed.
pub(crate) struct FakeNode {
    hand: Arc<Hand>,
    tasks: Vec<JoinHandle<()>>,
}

struct Hand {
    client: Client,
    name: String,
    seeded: Seeded,
    behaviours: Mutex<BTreeMap<String, Behaviour>>,
    addresses: AtomicU32,
}

impl FakeNode {
    /// Joins the cluster.
    pub(crate) async fn join(world: &World, seed: u64) -> Self {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let hand = Arc::new(Hand {
            client: world.client.clone(),
            name: format!("fake-{:x}", nanos & 0xffff_ffff_ffff),
            seeded: Seeded::new(seed),
            behaviours: Mutex::default(),
            addresses: AtomicU32::new(0),
        });
        hand.register().await;
        let tasks = vec![tokio::spawn(hand.clone().beat()), tokio::spawn(hand.clone().serve())];
        hand.until_pods_are_let_in().await;
        Self { hand, tasks }
    }

    /// Says what the containers of `image` do from now on.
    pub(crate) fn behave(&self, image: &str, behaviour: Behaviour) {
        let mut behaviours = self.hand.behaviours.lock().unwrap_or_else(PoisonError::into_inner);
        behaviours.insert(image.to_owned(), behaviour);
    }

    /// Returns what a pod template's `spec` needs to be scheduled here.
    pub(crate) fn placement(&self) -> Value {
        json!({ "nodeSelector": { KEY: self.hand.name }, "tolerations": [{ "operator": "Exists" }] })
    }

    /// Leaves the cluster.
    pub(crate) async fn remove(self) {
        let nodes: Api<Node> = Api::all(self.hand.client.clone());
        nodes.delete(&self.hand.name, &DeleteParams::default()).await.unwrap();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Hand {
    async fn register(&self) {
        let node = json!({
            "metadata": {
                "name": self.name,
                "labels": {
                    KEY: self.name, "kubernetes.io/hostname": self.name,
                    "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                },
            },
            "spec": { "taints": [{ "key": KEY, "effect": "NoSchedule" }] },
        });
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        self.report_ready().await;
    }

    async fn report_ready(&self) {
        let room =
            json!({ "cpu": "1000", "memory": "1000Gi", "pods": "10000", "ephemeral-storage": "1000Gi" });
        let mut conditions = vec![condition("Ready", "True", "KubeletReady")];
        for pressure in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
            conditions.push(condition(pressure, "False", "KubeletHasEnough"));
        }
        let status = json!({ "status": {
            "capacity": room, "allocatable": room, "conditions": conditions,
            "addresses": [{ "type": "InternalIP", "address": "10.249.0.1" }],
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "kubeletVersion": "v1.36.3",
                "bootID": "fake", "containerRuntimeVersion": "fake://1", "kernelVersion": "fake",
                "kubeProxyVersion": "", "machineID": "fake", "osImage": "fake", "systemUUID": "fake",
            },
        } });
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(&status)).await.unwrap();
    }

    /// The node controller takes the taint of a new node away once it has seen it ready.
    async fn until_pods_are_let_in(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let started = tokio::time::Instant::now();
        loop {
            let node = nodes.get(&self.name).await.unwrap();
            let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
            if taints.len() == 1 {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "the fake node stays tainted: {taints:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Renews the node's Lease, which is what keeps it from being called lost.
    async fn beat(self: Arc<Self>) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "kube-node-lease");
        loop {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": { "name": self.name },
                "spec": {
                    "holderIdentity": self.name, "leaseDurationSeconds": 40,
                    "renewTime": format!("{:.6}", Timestamp::now()),
                },
            });
            // The API server may be down for a while; the node outlives a few beats.
            let _ = leases
                .patch(&self.name, &PatchParams::apply("fake-node").force(), &Patch::Apply(&lease))
                .await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }

    /// Starts and ends the pods that are bound to the node.
    async fn serve(self: Arc<Self>) {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let here = Config::default().fields(&format!("spec.nodeName={}", self.name));
        let mut events = watcher(pods, here).default_backoff().boxed();
        let (mut started, mut ending) = (BTreeSet::new(), BTreeSet::new());
        while let Some(event) = events.next().await {
            let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event else { continue };
            let uid = pod.uid().unwrap_or_default();
            if pod.metadata.deletion_timestamp.is_some() {
                if ending.insert(uid) {
                    tokio::spawn(self.clone().end(pod));
                }
            } else if started.insert(uid) {
                tokio::spawn(self.clone().start(pod));
            }
        }
    }

    async fn start(self: Arc<Self>, pod: Pod) {
        let image = image(&pod);
        let behaviour = {
            let behaviours = self.behaviours.lock().unwrap_or_else(PoisonError::into_inner);
            behaviours.get(&image).copied().unwrap_or_default()
        };
        self.seeded.pause(30, 200).await;
        let number = self.addresses.fetch_add(1, Ordering::Relaxed);
        let address = format!("10.250.{}.{}", number / 250 % 250, number % 250 + 1);
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let running = json!({ "running": { "startedAt": now } });
        self.tell(&pod, &status(&pod, &address, false, 0, &running)).await;
        self.seeded.pause(50, 700).await;
        match behaviour {
            Behaviour::NeverReady => {}
            Behaviour::Ready => self.tell(&pod, &status(&pod, &address, true, 0, &running)).await,
            Behaviour::Crash => {
                for restarts in 1..=3 {
                    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                    let ended =
                        json!({ "exitCode": 1, "reason": "Error", "startedAt": now, "finishedAt": now });
                    let waiting = json!({ "waiting": {
                        "reason": "CrashLoopBackOff",
                        "message": "back-off 10s restarting failed container",
                    } });
                    let mut crashed = status(&pod, &address, false, restarts, &waiting);
                    for container in crashed["containerStatuses"].as_array_mut().unwrap() {
                        container["lastState"] = json!({ "terminated": ended });
                        container["started"] = false.into();
                    }
                    self.tell(&pod, &crashed).await;
                    self.seeded.pause(1000, 2000).await;
                }
            }
        }
    }

    async fn end(self: Arc<Self>, pod: Pod) {
        self.seeded.pause(20, 600).await;
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default();
        if !address.is_empty() {
            let ended = json!({ "terminated": {
                "exitCode": 143, "reason": "Error", "startedAt": now, "finishedAt": now,
            } });
            self.tell(&pod, &status(&pod, &address, false, 0, &ended)).await;
        }
        let at_once = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        // Again and again: nobody else takes the pod away.
        for _ in 0..60 {
            match self.pods(&pod).delete(&pod.name_any(), &at_once).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default())
    }

    /// Writes a pod's status, unless the pod is another one by now.
    async fn tell(&self, pod: &Pod, status: &Value) {
        let body = json!({ "metadata": { "uid": pod.uid() }, "status": status });
        for _ in 0..60 {
            let told = self
                .pods(pod)
                .patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&body))
                .await;
            match told {
                Ok(_) | Err(kube::Error::Api(_)) => return,
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({ "type": kind, "status": status, "reason": reason, "message": reason,
            "lastHeartbeatTime": now, "lastTransitionTime": now })
}

fn image(pod: &Pod) -> String {
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    containers.first().and_then(|container| container.image.clone()).unwrap_or_default()
}

fn status(pod: &Pod, address: &str, is_ready: bool, restarts: u32, state: &Value) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let word = if is_ready { "True" } else { "False" };
    let condition = |kind: &str, status: &str| {
        json!({ "type": kind, "status": status, "lastTransitionTime": now,
                "reason": if status == "True" { "" } else { "ContainersNotReady" } })
    };
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let statuses: Vec<Value> = containers
        .iter()
        .map(|container| {
            let image = container.image.clone().unwrap_or_default();
            json!({
                "name": container.name, "image": image, "imageID": image, "containerID": "fake://1",
                "ready": is_ready, "started": state.get("running").is_some(),
                "restartCount": restarts, "state": state,
            })
        })
        .collect();
    json!({
        "phase": "Running", "startTime": now, "podIP": address, "podIPs": [{ "ip": address }],
        "hostIP": "10.249.0.1", "hostIPs": [{ "ip": "10.249.0.1" }],
        "conditions": [
            condition("PodReadyToStartContainers", "True"), condition("Initialized", "True"),
            condition("ContainersReady", word), condition("Ready", word),
        ],
        "containerStatuses": statuses,
    })
}
