//! One Deployment with three pods behind a Service, as a cluster shows them when all is well:
//! `shop/app`, container `app`, revision 4.

use serde_json::{Value, json};

use super::apiserver::ApiServer;

/// The repository of the image.
pub(crate) const REPOSITORY: &str = "127.0.0.1:9/shop/app";
/// The Deployment's uid.
pub(crate) const UID: &str = "b5ce10e4-0000-4000-8000-000000000001";
/// Where the Deployment is.
pub(crate) const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/app";

const SET_UID: &str = "b5ce10e4-0000-4000-8000-000000000002";

/// Returns a digest that is easy to tell from others: `a` gives `sha256:aaa…`.
pub(crate) fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// Fills the server with a Deployment that runs [`digest`]`(letter)` on all its pods.
pub(crate) fn fill(server: &ApiServer, letter: char) {
    server.put(DEPLOYMENT, deployment(letter));
    server.put("/apis/apps/v1/namespaces/shop/replicasets/app-7c9", replica_set(letter));
    for number in 1..=3 {
        server.put(&pod_path(number), pod(number, letter));
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "app", "namespace": "shop", "uid": "b5ce10e4-0000-4000-8000-000000000003"},
        "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    server.put("/api/v1/namespaces/shop/services/app", service);
    let endpoints: Vec<Value> = (1..=3).map(endpoint).collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "app-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "app"}},
        "endpoints": endpoints, "ports": [{"port": 8080}],
    });
    server.put("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/app-x", slice);
}

/// Returns the path of a pod.
pub(crate) fn pod_path(number: u32) -> String {
    format!("/api/v1/namespaces/shop/pods/app-7c9-{number}")
}

/// Returns a pod that reports [`digest`]`(letter)`.
pub(crate) fn pod(number: u32, letter: char) -> Value {
    let image = format!("{REPOSITORY}@{}", digest(letter));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("app-7c9-{number}"), "namespace": "shop", "uid": pod_uid(number),
            "labels": {"app": "shop", "pod-template-hash": "7c9"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "app-7c9",
                "uid": SET_UID, "controller": true}],
        },
        "spec": {"containers": [{"name": "app", "image": image}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0, "image": image,
                "imageID": image, "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}}],
        },
    })
}

/// Returns the Deployment, rolled out.
pub(crate) fn deployment(letter: char) -> Value {
    let digest = digest(letter);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "app", "namespace": "shop", "uid": UID, "generation": 4,
            "annotations": {
                "deployment.kubernetes.io/revision": "4",
                "rollway.dev/digest": digest,
                "rollway.dev/tag": "latest",
                "rollway.dev/previous": format!("{REPOSITORY}@{}", self::digest('0')),
                "rollway.dev/build": "https://ci.example/builds/7",
                "rollway.dev/tool": "rollway 0.1.0",
                "rollway.dev/at": "2026-01-02T03:04:00Z",
            },
        },
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "shop"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template(&digest, &json!({"app": "shop"})),
        },
        "status": {
            "observedGeneration": 4, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3,
            "availableReplicas": 3,
            "conditions": [
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                 "lastUpdateTime": "2026-01-02T03:04:30Z"},
            ],
        },
    })
}

fn replica_set(letter: char) -> Value {
    let labels = json!({"app": "shop", "pod-template-hash": "7c9"});
    let annotations = deployment(letter)["metadata"]["annotations"].clone();
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": "app-7c9", "namespace": "shop", "uid": SET_UID, "labels": labels,
            "annotations": annotations,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "app", "uid": UID,
                "controller": true}],
        },
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": template(&digest(letter), &labels)},
        "status": {"replicas": 3, "readyReplicas": 3, "availableReplicas": 3},
    })
}

fn template(digest: &str, labels: &Value) -> Value {
    json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": format!("{REPOSITORY}@{digest}"),
            "lifecycle": {"preStop": {"sleep": {"seconds": 10}}}}]},
    })
}

fn endpoint(number: u32) -> Value {
    json!({
        "addresses": [format!("10.0.0.{number}")],
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "targetRef": {"kind": "Pod", "name": format!("app-7c9-{number}"), "uid": pod_uid(number)},
    })
}

fn pod_uid(number: u32) -> String {
    format!("b5ce10e4-0000-4000-8000-00000000001{number}")
}

/// Makes everything run `image`, with pods whose runtime reports `digest`.
pub(crate) fn run(server: &ApiServer, image: &str, digest: &str) {
    let mut deployment = server.object(DEPLOYMENT).unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    server.put(DEPLOYMENT, deployment);
    let set = "/apis/apps/v1/namespaces/shop/replicasets/app-7c9";
    let mut replica_set = server.object(set).unwrap();
    replica_set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    server.put(set, replica_set);
    for number in 1..=3 {
        let mut pod = pod(number, 'a');
        let repository = image.split('@').next().unwrap();
        pod["status"]["containerStatuses"][0]["imageID"] = json!(format!("{repository}@{digest}"));
        server.put(&pod_path(number), pod);
    }
}

/// Adds an init container of the same image to the template, and what its pods report of it.
pub(crate) fn with_init_container(server: &ApiServer, name: &str, letter: char) {
    let image = format!("{REPOSITORY}@{}", digest(letter));
    for path in [DEPLOYMENT, "/apis/apps/v1/namespaces/shop/replicasets/app-7c9"] {
        let mut object = server.object(path).unwrap();
        object["spec"]["template"]["spec"]["initContainers"] = json!([{"name": name, "image": image}]);
        server.put(path, object);
    }
    for number in 1..=3 {
        let mut pod = pod(number, letter);
        pod["status"]["initContainerStatuses"] = init_status(name, &image);
        server.put(&pod_path(number), pod);
    }
}

fn init_status(name: &str, image: &str) -> Value {
    json!([{"name": name, "ready": true, "restartCount": 0, "image": image, "imageID": image,
        "state": {"terminated": {"exitCode": 0}}}])
}

/// Plays the controllers for one moment: follows the Deployment's template with pods that are ready
/// at once, and reports what it did. Returns whether there was anything to follow.
pub(crate) fn reconcile(server: &ApiServer) -> bool {
    let mut deployment = server.object(DEPLOYMENT).unwrap();
    if deployment["metadata"]["generation"] == deployment["status"]["observedGeneration"] {
        return false;
    }
    let set = "/apis/apps/v1/namespaces/shop/replicasets/app-8d1";
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    if server.object(set).is_none() && image.ends_with(&digest('b')) {
        follow(server, set, &deployment);
        deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("5");
    }
    if server.object(set).is_some() && image.ends_with(&digest('a')) {
        come_back(server, set);
    }
    deployment["status"]["observedGeneration"] = deployment["metadata"]["generation"].clone();
    server.put(DEPLOYMENT, deployment);
    true
}

/// Replaces the pods of the ReplicaSet at `path` by those of the image from before.
fn come_back(server: &ApiServer, path: &str) {
    server.put("/apis/apps/v1/namespaces/shop/replicasets/app-7c9", replica_set('a'));
    for number in 1..=3 {
        server.put(&pod_path(number), pod(number, 'a'));
        server.remove(&format!("/api/v1/namespaces/shop/pods/app-8d1-{number}"));
    }
    server.remove(path);
}

fn follow(server: &ApiServer, path: &str, deployment: &Value) {
    let mut old = server.object("/apis/apps/v1/namespaces/shop/replicasets/app-7c9").unwrap();
    let mut new = replica_set('b');
    new["metadata"]["name"] = json!("app-8d1");
    new["metadata"]["uid"] = json!("b5ce10e4-0000-4000-8000-000000000005");
    new["spec"]["template"] = deployment["spec"]["template"].clone();
    new["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = json!("8d1");
    new["metadata"]["labels"]["pod-template-hash"] = json!("8d1");
    server.put(path, new);
    for number in 1..=3 {
        let mut replaced = pod(number, 'b');
        let init = &deployment["spec"]["template"]["spec"]["initContainers"][0];
        if let (Some(name), Some(image)) = (init["name"].as_str(), init["image"].as_str()) {
            replaced["status"]["initContainerStatuses"] = init_status(name, image);
        }
        let name = format!("app-8d1-{number}");
        replaced["metadata"]["name"] = json!(name);
        replaced["metadata"]["labels"]["pod-template-hash"] = json!("8d1");
        replaced["metadata"]["ownerReferences"][0]["uid"] = json!("b5ce10e4-0000-4000-8000-000000000005");
        server.put(&format!("/api/v1/namespaces/shop/pods/{name}"), replaced);
        server.remove(&pod_path(number));
    }
    old["spec"]["replicas"] = json!(0);
    old["status"] = json!({"replicas": 0});
    server.put("/apis/apps/v1/namespaces/shop/replicasets/app-7c9", old);
}
