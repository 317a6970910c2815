//! What a rollout costs the API server and the machine that it runs on, alone and in a crowded namespace.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::PostParams;
use serde_json::json;

use crate::counter::Counter;
use crate::fake_node::FakeNode;
use crate::world::{App, Put, ROLLOUT, Shape, World};

/// What one rollout took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    requests: usize,
    /// The most memory that was resident, in KiB.
    memory: u64,
}

/// Requests that depend on how often something happened to change are within this of each other.
const TOLERANCE: f64 = 1.10;
/// What may be resident, in KiB: the program that the tests run is not the optimised one, and half of this is its
/// own text.
const MEMORY: u64 = 64 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the lab"]
async fn three_hundred_deployments_beside_it_cost_no_request_and_no_memory() {
    let world = World::connect().await;
    let node = FakeNode::join(&world, 0).await;
    let images = [world.publish("11.0.5", &[]).await, world.publish("11.0.6", &[]).await];
    let alone = cost(&world, &node, &images, 2).await;
    let crowded = cost(&world, &node, &images, 299).await;
    eprintln!("beside 2: {alone:?}, beside 299: {crowded:?}");
    node.remove().await;
    assert!(crowded.memory < MEMORY, "{crowded:?}");
    let most = (alone.requests as f64 * TOLERANCE).ceil();
    assert!(crowded.requests as f64 <= most, "{crowded:?} after {alone:?}");
}

async fn cost(world: &World, node: &FakeNode, images: &[String; 2], beside: usize) -> Cost {
    let shape = Shape { pod: node.placement(), service: "ClusterIP", ..Shape::dies_at_once(&images[0]) };
    let app = world.deploy(shape.clone()).await;
    crowd(&app, &shape, beside).await;
    let counter = Counter::start(world).await;
    let mut request = app.request(json!({ "reference": images[1], "drain": "detached", "drain_wait": 2 }));
    request["source"]["kubeconfig"] = counter.kubeconfig(&app.namespace);
    let put = Put::start(ROLLOUT, "out", request).await;
    let memory = tokio::spawn(most_resident(put.pid()));
    let ended = put.end().await;
    assert!(ended.success, "{}", ended.stderr);
    let requests = counter.take();
    let cost = Cost { requests: requests.values().sum(), memory: memory.await.unwrap() };
    app.remove().await;
    cost
}

/// Makes so many other Deployments, each with a pod and a Service of its own.
pub(crate) async fn crowd(app: &App, shape: &Shape<'_>, count: usize) {
    let mut deployment = shape.deployment();
    deployment["spec"]["replicas"] = 1.into();
    let made = stream::iter(0..count).map(|number| {
        let name = format!("other-{number}");
        let labels = json!({ "app": name });
        let mut deployment = deployment.clone();
        deployment["metadata"]["name"] = name.as_str().into();
        deployment["spec"]["selector"]["matchLabels"] = labels.clone();
        deployment["spec"]["template"]["metadata"]["labels"] = labels.clone();
        let service = json!({
            "metadata": { "name": name },
            "spec": { "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] },
        });
        async move {
            let parameters = PostParams::default();
            let (deployment, service) =
                (serde_json::from_value(deployment).unwrap(), serde_json::from_value(service).unwrap());
            app.api::<Deployment>().create(&parameters, &deployment).await.unwrap();
            app.api::<Service>().create(&parameters, &service).await.unwrap();
        }
    });
    made.buffer_unordered(16).collect::<Vec<()>>().await;
    app.until("all of the crowd are ready", |view| view.ready() == count + shape.replicas).await;
}

/// Returns the most KiB that a process ever had resident, once it has ended.
pub(crate) async fn most_resident(pid: u32) -> u64 {
    let mut most = 0;
    while let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let Some(number) = line.and_then(|line| line.split_whitespace().next()?.parse().ok()) else { break };
        most = number;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    most
}
