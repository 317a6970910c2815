//! The lab as the tests see it: an application in a namespace of its own, images to roll it to, the
//! rollout's executable, and what is there afterwards.

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use rollway_lab::image::{Image, Registry, SampleApp, sample_app};
use rollway_lab::load::{Lane, Load, Target};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// How long anything in the lab may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The executables of the resource types.
pub(crate) const ROLLOUT: &str = env!("CARGO_BIN_EXE_rollout");
pub(crate) const IMAGE_DIGEST: &str = env!("CARGO_BIN_EXE_image-digest");

/// The lab's cluster and registry.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) kubeconfig: String,
    pub(crate) registry: String,
}

impl World {
    /// Connects to the lab that `lab exec` describes in the environment.
    pub(crate) async fn connect() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let variable = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by `make test`"))
        };
        let kubeconfig = std::fs::read_to_string(variable("KUBECONFIG")).unwrap();
        let access = rollway::cluster::Access {
            kubeconfig: Some(kubeconfig.clone().into()),
            ..rollway::cluster::Access::default()
        };
        let cluster = rollway::cluster::connect(&access).await.unwrap();
        Self { client: cluster.client, kubeconfig, registry: variable("ROLLWAY_REGISTRY") }
    }

    /// Returns the API server's address.
    pub(crate) fn api(&self) -> std::net::SocketAddr {
        let kubeconfig: Value = serde_saphyr::from_str(&self.kubeconfig).unwrap();
        let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str().unwrap();
        server.strip_prefix("https://").unwrap().parse().unwrap()
    }

    /// Pushes an image of the sample application and returns `repository@digest`.
    pub(crate) async fn publish(&self, runtime: &str, switches: &[(&str, &str)]) -> String {
        // Assembling one takes seconds, and most tests want the same.
        static PUBLISHED: Mutex<BTreeMap<String, String>> = Mutex::const_new(BTreeMap::new());
        let mut published = PUBLISHED.lock().await;
        let key = format!("{runtime} {switches:?}");
        if let Some(image) = published.get(&key) {
            return image.clone();
        }
        let program = SampleApp::program().unwrap();
        let app = SampleApp::new("foo", &program).runtime(runtime);
        let app = switches.iter().fold(app, |app, (key, value)| app.switch(key, value));
        let image = self.publish_app(&app).await;
        published.insert(key, image.clone());
        image
    }

    /// Pushes an image of this application and returns `repository@digest`.
    pub(crate) async fn publish_app(&self, app: &SampleApp) -> String {
        self.push(&sample_app(app).unwrap()).await
    }

    /// Pushes an image and returns `repository@digest`.
    pub(crate) async fn push(&self, image: &Image) -> String {
        let registry = Registry::new(&format!("http://{}", self.registry), None, None).unwrap();
        let digest = registry.push(image, "cluster-tests", "latest").await.unwrap();
        let digest = digest.rsplit_once('@').map_or(digest.clone(), |(_, digest)| digest.to_owned());
        format!("{}/cluster-tests@{digest}", self.registry)
    }

    /// Makes a namespace with the application in it and waits until it serves.
    pub(crate) async fn deploy(&self, shape: Shape<'_>) -> App {
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let namespace = format!("test-{:x}", nanos & 0xffff_ffff_ffff);
        let app = App { world: self.clone(), namespace: namespace.clone() };
        let object = json!({ "metadata": { "name": namespace } });
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        if let Some(pods) = shape.pod_quota {
            app.apply("v1", "ResourceQuota", &json!({ "spec": { "hard": { "pods": pods.to_string() } } }))
                .await;
        }
        for (version, kind, body) in shape.beside {
            app.apply(version, kind, &serde_json::from_str(body).unwrap()).await;
        }
        app.apply("v1", "Service", &shape.service()).await;
        app.apply("apps/v1", "Deployment", &shape.deployment()).await;
        app.until("the application serves", |view| view.ready() == shape.replicas).await;
        app
    }
}

/// What the application in a test looks like.
#[derive(Clone)]
pub(crate) struct Shape<'a> {
    pub(crate) image: &'a str,
    pub(crate) replicas: usize,
    pub(crate) env: &'a [(&'a str, &'a str)],
    pub(crate) pre_stop: Option<u64>,
    pub(crate) strategy: Value,
    pub(crate) pod_quota: Option<usize>,
    /// What the pod template's spec has beyond its container.
    pub(crate) pod: Value,
    /// What the container has beyond the usual.
    pub(crate) container: Value,
    /// The type of the Service; node ports are few.
    pub(crate) service: &'a str,
    /// Version, kind and body of objects that have to be there before it.
    pub(crate) beside: &'a [(&'a str, &'a str, &'a str)],
}

impl<'a> Shape<'a> {
    /// Three pods that die at once on SIGTERM, without a hook, with the API's default strategy.
    pub(crate) fn dies_at_once(image: &'a str) -> Self {
        Self {
            image,
            replicas: 3,
            env: &[("ON_SIGTERM", "die")],
            pre_stop: None,
            strategy: json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } }),
            pod_quota: None,
            pod: json!({}),
            container: json!({}),
            service: "NodePort",
            beside: &[],
        }
    }

    fn service(&self) -> Value {
        json!({ "spec": { "type": self.service, "selector": { "app": "app" },
            "ports": [{ "port": 80, "targetPort": 8080 }] } })
    }

    /// Returns the Deployment's body, without a name.
    pub(crate) fn deployment(&self) -> Value {
        let env: Vec<Value> =
            self.env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let mut container = json!({
            "name": "app", "image": self.image, "env": env,
            "readinessProbe": {
                "httpGet": { "path": "/actuator/health", "port": 8080 },
                "periodSeconds": 1, "failureThreshold": 1,
            },
        });
        if let Some(seconds) = self.pre_stop {
            container["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": seconds } } });
        }
        merge(&mut container, &self.container);
        let mut pod = json!({ "containers": [container], "automountServiceAccountToken": false });
        merge(&mut pod, &self.pod);
        json!({ "spec": {
            "replicas": self.replicas,
            "strategy": self.strategy,
            "selector": { "matchLabels": { "app": "app" } },
            "template": {
                "metadata": { "labels": { "app": "app" } },
                "spec": pod,
            },
        } })
    }
}

/// Adds the keys of `extra`, or replaces them.
fn merge(object: &mut Value, extra: &Value) {
    object.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
}

/// One application under test.
pub(crate) struct App {
    pub(crate) world: World,
    pub(crate) namespace: String,
}

impl App {
    /// Returns an API of the application's namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.world.client.clone(), &self.namespace)
    }

    /// Makes an object called `app`.
    pub(crate) async fn apply(&self, version: &str, kind: &str, body: &Value) {
        let mut object = body.clone();
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"] = json!({ "name": "app", "namespace": self.namespace });
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = kube::core::GroupVersionKind::gvk(group, version, kind);
        let resource = kube::core::ApiResource::from_gvk(&kind);
        let api: Api<kube::core::DynamicObject> =
            Api::namespaced_with(self.world.client.clone(), &self.namespace, &resource);
        api.patch("app", &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    /// Changes the Deployment as somebody else would.
    pub(crate) async fn change(&self, patch: Value) {
        self.api::<Deployment>().patch("app", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Looks at everything once.
    pub(crate) async fn view(&self) -> View {
        let everything = ListParams::default();
        View {
            deployment: self.api::<Deployment>().get("app").await.unwrap(),
            pods: self.api::<Pod>().list(&everything).await.unwrap().items,
        }
    }

    /// Waits until a look satisfies `wanted`.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&View) -> bool) -> View {
        self.until_after(what, wanted, "").await
    }

    /// Waits until a look satisfies `wanted`, and shows `log` too when none does.
    pub(crate) async fn until_after(&self, what: &str, wanted: impl Fn(&View) -> bool, log: &str) -> View {
        let started = Instant::now();
        loop {
            let view = self.view().await;
            if wanted(&view) {
                return view;
            }
            assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {view:#?}\n{log}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Returns the application's address on loopback.
    pub(crate) async fn address(&self) -> std::net::SocketAddr {
        let service = self.api::<Service>().get("app").await.unwrap();
        let port = service.spec.unwrap().ports.unwrap()[0].node_port.unwrap();
        ([127, 0, 0, 1], u16::try_from(port).unwrap()).into()
    }

    /// Starts requests on a new connection each, once the node port has been heard to answer.
    pub(crate) async fn load(&self, rate: f64) -> Load {
        let address = self.address().await;
        let started = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "{address} never answered");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let lanes = vec![Lane::Fresh { rate }];
        Load::start(Target { name: self.namespace.clone(), address: self.address().await, lanes }).unwrap()
    }

    /// Returns what the pipeline would send to the rollout resource; it settles for a second unless the
    /// test says otherwise.
    pub(crate) fn request(&self, mut params: Value) -> Value {
        if params.is_object() && params.get("settle").is_none() {
            params["settle"] = 1.into();
        }
        json!({
            "source": { "kubeconfig": self.world.kubeconfig, "namespace": self.namespace, "deployment": "app" },
            "params": params,
        })
    }

    /// Starts a put and leaves it running.
    pub(crate) async fn start_put(&self, params: Value) -> Put {
        Put::start(ROLLOUT, "out", self.request(params)).await
    }

    /// Runs a put to its end.
    pub(crate) async fn put(&self, params: Value) -> Ended {
        self.start_put(params).await.end().await
    }

    /// Runs a check with the given cursor and returns the versions.
    pub(crate) async fn check(&self, cursor: Option<&Value>) -> Vec<Value> {
        let mut request = self.request(Value::Null);
        request.as_object_mut().unwrap().remove("params");
        if let Some(cursor) = cursor {
            request["version"] = cursor.clone();
        }
        let ended = Put::start(ROLLOUT, "check", request).await.end().await;
        assert!(ended.success, "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// Takes the namespace away; the pods go in the background.
    pub(crate) async fn remove(self) {
        let namespaces: Api<Namespace> = Api::all(self.world.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::background()).await.unwrap();
    }
}

/// A resource's executable under way.
pub(crate) struct Put {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    said: Vec<String>,
    directory: tempfile::TempDir,
}

impl Put {
    pub(crate) async fn start(program: &str, step: &str, request: Value) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), program, step, request).await
    }

    /// The same, in a directory that has something in it already.
    pub(crate) async fn start_in(
        directory: tempfile::TempDir,
        program: &str,
        step: &str,
        request: Value,
    ) -> Self {
        let mut child = Command::new(program)
            .arg(step)
            .arg(directory.path())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(request.to_string().as_bytes()).await.unwrap();
        drop(stdin);
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, said: Vec::new(), directory }
    }

    /// Waits until a line of the log contains `words`; `false` if the put ended before.
    pub(crate) async fn says(&mut self, words: &str) -> bool {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.said.push(line);
            if self.said.last().is_some_and(|line| line.contains(words)) {
                return true;
            }
        }
        false
    }

    /// Returns its process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Returns whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(mut self) -> Vec<String> {
        self.child.kill().await.unwrap();
        self.said
    }

    /// Ends it as Concourse does when a build is aborted.
    pub(crate) async fn terminate(self) -> Ended {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        self.end().await
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Ended {
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.said.push(line);
        }
        let Output { status, stdout, .. } = self.child.wait_with_output().await.unwrap();
        Ended {
            success: status.success(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: self.said.join("\n"),
            directory: self.directory,
        }
    }
}

/// How an executable ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The step's directory, and what was written into it.
    pub(crate) directory: tempfile::TempDir,
}

impl Ended {
    /// Asserts that it failed with one line that has all `words`, and at most a hint after it.
    #[track_caller]
    pub(crate) fn assert_refused(&self, words: &[&str]) {
        assert!(!self.success && self.stdout.is_empty(), "{self:#?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        let is_short = matches!(lines[..], [error, ref rest @ ..] if error.starts_with("error: ")
            && rest.len() <= 1 && rest.iter().all(|line| line.starts_with("hint: ")));
        assert!(is_short, "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "lacks `{word}`:\n{}", self.stderr);
        }
    }

    /// Returns the version that it answered.
    pub(crate) fn version(&self) -> Value {
        assert!(self.success, "{}", self.stderr);
        serde_json::from_str::<Value>(&self.stdout).unwrap()["version"].clone()
    }
}

/// One look at the namespace.
pub(crate) struct View {
    pub(crate) deployment: Deployment,
    pub(crate) pods: Vec<Pod>,
}

impl std::fmt::Debug for View {
    /// Shows what tells one state from another, which is a few lines of the thousands that there are.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pods = self.pods.iter().map(|pod| {
            let status = pod.status.clone().unwrap_or_default();
            let is_ending = pod.metadata.deletion_timestamp.is_some();
            let containers = status.container_statuses.unwrap_or_default().into_iter();
            let states: Vec<_> = containers.map(|container| container.state).collect();
            let image = pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone());
            (pod.name_any(), image, pod.labels(), status.phase, is_ending, states)
        });
        let annotations = self.deployment.annotations();
        let replicas = self.deployment.status.as_ref().map(|status| {
            [status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas]
        });
        formatter
            .debug_struct("View")
            .field("settings", &self.settings().to_string())
            .field("annotations", annotations)
            .field("replicas, updated, ready, available", &replicas)
            .field("pods", &pods.collect::<Vec<_>>())
            .finish()
    }
}

impl View {
    /// Counts the pods that are ready and not ending.
    pub(crate) fn ready(&self) -> usize {
        self.pods.iter().filter(|pod| rollway::rollout::observe::is_ready(pod)).count()
    }

    /// Returns the image of each pod that is not ending.
    pub(crate) fn images(&self) -> BTreeMap<String, String> {
        let alive = self.pods.iter().filter(|pod| rollway::rollout::observe::is_alive(pod));
        alive
            .map(|pod| (pod.name_any(), pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap()))
            .collect()
    }

    /// Returns the settings that a rollout may change for its own purposes.
    pub(crate) fn settings(&self) -> Value {
        let spec = serde_json::to_value(&self.deployment.spec).unwrap();
        json!([spec["strategy"], spec["minReadySeconds"], spec["progressDeadlineSeconds"], spec["replicas"]])
    }

    /// Asserts that only `replicas` pods of `image` are there, all owned, and that nothing of a rollout is left.
    #[track_caller]
    pub(crate) fn assert_settled(&self, image: &str, replicas: usize, settings: &Value) {
        self.assert_settled_after(image, replicas, settings, "");
    }

    /// The same, and shows `log` when it is not so.
    #[track_caller]
    pub(crate) fn assert_settled_after(&self, image: &str, replicas: usize, settings: &Value, log: &str) {
        let images = self.images();
        assert_eq!(images.len(), replicas, "{images:#?}\n{log}");
        assert!(images.values().all(|running| running == image), "wanted {image}, have {images:#?}\n{log}");
        let orphans: Vec<String> = self
            .pods
            .iter()
            .filter(|pod| pod.owner_references().is_empty())
            .map(ResourceExt::name_any)
            .collect();
        assert!(orphans.is_empty(), "{orphans:?}\n{log}");
        assert_eq!(&self.settings(), settings, "{log}");
        let journal = self.deployment.annotations().get(rollway::rollout::annotations::JOURNAL);
        assert!(journal.is_none_or(|journal| journal == "finished"), "{journal:?}\n{log}");
    }
}
