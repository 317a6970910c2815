//! An API server in this process: objects by path, lists with label and field selectors, watches,
//! JSON patches with their preconditions, one accepted token, answers scripted by the test, and a
//! record of every request. It has no controllers: a test plays them with [`ApiServer::put`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, oneshot};

mod groups;
mod logs;
mod merge;
mod tls;
mod watches;

/// The token that a server with [`ApiServer::with_token`] accepts.
pub(crate) const TOKEN: &str = "canary-token-d6f1";

/// Where a client asks what it may do; POSTs that write nothing.
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubject";

/// After a path that is scripted: only its watches are meant.
pub(crate) const WATCHED: &str = "?watch";

/// A running server; dropping it stops it.
pub(crate) struct ApiServer {
    address: SocketAddr,
    certificate: Option<String>,
    shared: Shared,
    _stop: oneshot::Sender<()>,
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: String,
}

type Shared = Arc<Mutex<World>>;

struct World {
    objects: BTreeMap<String, Value>,
    /// What was deleted, as it was last, for watches that begin at an older version.
    deleted: Vec<(String, Value)>,
    scripted: Vec<Scripted>,
    seen: Vec<Seen>,
    token: Option<String>,
    /// The answer to pods that are only tried, where it is no.
    trial: Option<(u16, String, String)>,
    /// Why pods are not relabelled, where a policy forbids that.
    relabelling: Option<String>,
    version: u64,
    logs: logs::Logs,
    changes: broadcast::Sender<(String, Value)>,
    /// The collections whose watches tell nothing.
    silent: Vec<String>,
}

struct Scripted {
    method: Method,
    path: String,
    status: u16,
    body: Value,
    left: usize,
}

impl ApiServer {
    /// Starts a server on plain http.
    pub(crate) fn start() -> Self {
        Self::serve(None)
    }

    /// Starts a server on https with a certificate of its own making.
    pub(crate) fn start_tls() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        Self::serve(Some(made))
    }

    fn serve(certified: Option<rcgen::CertifiedKey<rcgen::KeyPair>>) -> Self {
        let shared: Shared = Arc::new(Mutex::new(World {
            objects: BTreeMap::new(),
            deleted: Vec::new(),
            scripted: Vec::new(),
            seen: Vec::new(),
            token: None,
            trial: None,
            relabelling: None,
            version: 100,
            logs: logs::Logs::default(),
            changes: broadcast::channel(256).0,
            silent: Vec::new(),
        }));
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let certificate = certified.as_ref().map(|certified| certified.cert.pem());
        let (stop, stopped) = oneshot::channel();
        let (started, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                started.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = tls::serve(listener, certified, app) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: address.recv().unwrap(), certificate, shared, _stop: stop }
    }

    /// Accepts [`TOKEN`] and nothing else.
    pub(crate) fn with_token(self) -> Self {
        self.world().token = Some(TOKEN.to_owned());
        self
    }

    /// Returns the URL.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Returns the certificate to trust, as PEM.
    pub(crate) fn certificate(&self) -> &str {
        self.certificate.as_deref().unwrap_or_default()
    }

    /// Creates or replaces the object at `path` and tells the watches.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.world().store(path, object);
    }

    /// Deletes the object at `path` and tells the watches.
    pub(crate) fn remove(&self, path: &str) {
        let _ = self.world().delete(path);
    }

    /// Returns the object at `path`.
    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.world().objects.get(path).cloned()
    }

    /// Answers the next `times` requests of this method and path with a Status; a path with [`WATCHED`]
    /// after it is that of its watches alone.
    pub(crate) fn script(&self, method: Method, path: &str, refusal: (u16, &str, &str), times: usize) {
        let (status, reason, message) = refusal;
        let body = status_object(status, reason, message);
        self.world().scripted.push(Scripted { method, path: path.to_owned(), status, body, left: times });
    }

    /// Refuses every object that is created for trial.
    pub(crate) fn refuse_trials(&self, (status, reason, message): (u16, &str, &str)) {
        self.world().trial = Some((status, reason.to_owned(), message.to_owned()));
    }

    /// Refuses every pod that is relabelled for trial.
    pub(crate) fn refuse_relabelling(&self, message: &str) {
        self.world().relabelling = Some(message.to_owned());
    }

    /// Returns every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    /// Returns the requests so far that could change something, beside the lock.
    pub(crate) fn writes(&self) -> Vec<Seen> {
        let asks = |seen: &Seen| {
            seen.method == "GET"
                || seen.path.starts_with(REVIEWS)
                || seen.query.contains("dryRun=All")
                || seen.path.contains("/leases")
        };
        self.seen().into_iter().filter(|seen| !asks(seen)).collect()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.lock().unwrap()
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let mut world = shared.lock().unwrap();
    world.seen.push(Seen {
        method: parts.method.to_string(),
        path: path.clone(),
        query: query.clone(),
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    let given = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    if let Some(token) = &world.token
        && given != Some(&format!("Bearer {token}"))
    {
        return refused(401, "Unauthorized", "Unauthorized");
    }
    // What is scripted is meant for what is done, not for what is only tried.
    let is_tried = query.contains("dryRun=All");
    if !is_tried && let Some(answer) = world.scripted_answer(&parts.method, &path, &query) {
        return answer;
    }
    match parts.method {
        Method::GET if path == "/version" => {
            let version = json!({"major": "1", "minor": "34", "gitVersion": "v1.34.1", "gitCommit": "",
                "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
            axum::Json(version).into_response()
        }
        Method::GET if path == "/apis" => axum::Json(world.groups()).into_response(),
        Method::GET if path.ends_with("/log") => {
            drop(world);
            logs::answer(&shared, &path, &query)
        }
        Method::GET => world.read(&path, &query),
        Method::POST if path.starts_with(REVIEWS) => {
            let mut review: Value = serde_json::from_slice(&body).unwrap();
            let everything = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
            review["status"] = json!({"allowed": true, "incomplete": false, "nonResourceRules": [],
                "resourceRules": everything});
            axum::Json(review).into_response()
        }
        Method::POST if is_tried && world.trial.is_some() => {
            let (status, reason, message) = world.trial.clone().unwrap();
            refused(status, &reason, &message)
        }
        Method::POST if is_tried => {
            (StatusCode::CREATED, axum::Json(serde_json::from_slice::<Value>(&body).unwrap())).into_response()
        }
        Method::POST if path.ends_with("/leases") || path.ends_with("/images") => world.create(&path, &body),
        Method::PATCH if is_tried && path.contains("/pods/") && world.relabelling.is_some() => {
            refused(403, "Forbidden", &world.relabelling.clone().unwrap())
        }
        Method::PATCH if is_tried => world.read(&path, ""),
        Method::PATCH if merge::is_merge(&parts.headers) => world.merge(&path, &body),
        Method::PATCH => world.patch(&path, &body),
        Method::DELETE => world.delete(&path),
        _ => refused(405, "MethodNotAllowed", "this server cannot do that"),
    }
}

impl World {
    fn scripted_answer(&mut self, method: &Method, path: &str, query: &str) -> Option<Response> {
        let watched = query.contains("watch=true").then(|| format!("{path}{WATCHED}"));
        let is_it = |known: &str| known == path || Some(known) == watched.as_deref();
        let found = self.scripted.iter_mut();
        let mut fitting = found.filter(|it| it.left > 0 && it.method == *method && is_it(&it.path));
        let scripted = fitting.next()?;
        scripted.left -= 1;
        let status = StatusCode::from_u16(scripted.status).unwrap();
        Some((status, axum::Json(scripted.body.clone())).into_response())
    }

    fn store(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let kind = if self.objects.contains_key(path) { "MODIFIED" } else { "ADDED" };
        self.deleted.retain(|(gone, _)| gone != path);
        self.objects.insert(path.to_owned(), object.clone());
        // Nobody may be watching.
        let _ = self.changes.send((path.to_owned(), json!({"type": kind, "object": object})));
    }

    fn read(&self, path: &str, query: &str) -> Response {
        if let Some(object) = self.objects.get(path) {
            return axum::Json(object).into_response();
        }
        let Some((kind, version)) = collection(path) else {
            let name = path.rsplit('/').next().unwrap_or_default();
            return refused(404, "NotFound", &format!("\"{name}\" not found"));
        };
        let filter = Filter::of(path, query);
        if query.contains("watch=true") {
            return self.watch(filter, query);
        }
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(path, object)| filter.fits(path, object))
            .map(|(_, it)| it)
            .collect();
        let resource_version = self.version.to_string();
        let metadata = json!({"resourceVersion": resource_version});
        axum::Json(json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}))
            .into_response()
    }

    fn create(&mut self, folder: &str, body: &[u8]) -> Response {
        let object: Value = serde_json::from_slice(body).unwrap();
        let path = format!("{folder}/{}", object["metadata"]["name"].as_str().unwrap());
        if self.objects.contains_key(&path) {
            return refused(409, "AlreadyExists", "it is there already");
        }
        self.store(&path, object);
        (StatusCode::CREATED, axum::Json(&self.objects[&path])).into_response()
    }

    fn patch(&mut self, path: &str, body: &[u8]) -> Response {
        let Some(mut object) = self.objects.get(path).cloned() else {
            return refused(404, "NotFound", "not found");
        };
        let patch: json_patch::Patch = match serde_json::from_slice(body) {
            Ok(patch) => patch,
            Err(error) => return refused(400, "BadRequest", &error.to_string()),
        };
        if let Err(error) = json_patch::patch(&mut object, &patch) {
            let why = format!("the server rejected our request due to an error in our request: {error}");
            return refused(422, "Invalid", &why);
        }
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        object["metadata"]["generation"] = json!(generation);
        self.store(path, object);
        axum::Json(&self.objects[path]).into_response()
    }

    fn delete(&mut self, path: &str) -> Response {
        let Some(mut object) = self.objects.remove(path) else {
            return refused(404, "NotFound", "not found");
        };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.deleted.push((path.to_owned(), object.clone()));
        let _ = self.changes.send((path.to_owned(), json!({"type": "DELETED", "object": object})));
        axum::Json(status_object(200, "", "")).into_response()
    }
}

/// Which objects a list or a watch is about.
struct Filter {
    folder: String,
    /// What comes after the namespace, in a list of all namespaces.
    everywhere: Option<String>,
    labels: Vec<(String, String)>,
    name: Option<String>,
}

impl Filter {
    fn of(path: &str, query: &str) -> Self {
        let query = query.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/");
        let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(&format!("{key}=")));
        let pairs = |text: &str| -> Vec<(String, String)> {
            let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            pairs
                .map(|(key, value)| {
                    (key.trim_end_matches('=').to_owned(), value.trim_matches('=').to_owned())
                })
                .collect()
        };
        let fields = value("fieldSelector").map(pairs).unwrap_or_default();
        let everywhere = (!path.contains("/namespaces/")).then(|| path.rsplit('/').next()).flatten();
        let folder = match everywhere {
            Some(plural) => format!("{}/namespaces/", path.trim_end_matches(&format!("/{plural}"))),
            None => format!("{path}/"),
        };
        Self {
            folder,
            everywhere: everywhere.map(|plural| format!("/{plural}/")),
            labels: value("labelSelector").map(pairs).unwrap_or_default(),
            name: fields.into_iter().find(|(key, _)| key == "metadata.name").map(|(_, name)| name),
        }
    }

    /// Returns whether this is about the collection at `path`.
    fn is_of(&self, path: &str) -> bool {
        self.folder.trim_end_matches('/') == path
    }

    fn fits(&self, path: &str, object: &Value) -> bool {
        let inside = path.strip_prefix(&self.folder);
        let name = match &self.everywhere {
            Some(plural) => {
                inside.and_then(|inside| inside.split_once(plural.as_str())).map(|(_, name)| name)
            }
            None => inside,
        };
        let name = name.filter(|name| !name.contains('/'));
        let is_named = name.is_some_and(|name| self.name.as_ref().is_none_or(|wanted| wanted == name));
        let labels = &object["metadata"]["labels"];
        is_named && self.labels.iter().all(|(key, value)| labels[key] == json!(value))
    }
}

/// Returns the kind and apiVersion of the list at `path`, if it is the path of one.
fn collection(path: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (version, plural) = match parts.as_slice() {
        ["api", version, "namespaces", _, plural] | ["api", version, plural] => {
            ((*version).to_owned(), *plural)
        }
        ["apis", group, version, "namespaces", _, plural] | ["apis", group, version, plural] => {
            (format!("{group}/{version}"), *plural)
        }
        _ => return None,
    };
    let kind = match plural {
        "deployments" => "Deployment",
        "replicasets" => "ReplicaSet",
        "statefulsets" => "StatefulSet",
        "daemonsets" => "DaemonSet",
        "controllerrevisions" => "ControllerRevision",
        "pods" => "Pod",
        "services" => "Service",
        "endpointslices" => "EndpointSlice",
        "events" => "Event",
        "leases" => "Lease",
        "horizontalpodautoscalers" => "HorizontalPodAutoscaler",
        "resourcequotas" => "ResourceQuota",
        "limitranges" => "LimitRange",
        "persistentvolumeclaims" => "PersistentVolumeClaim",
        "ingresses" => "Ingress",
        "networkpolicies" => "NetworkPolicy",
        "nodes" => "Node",
        "images" => "Image",
        "builds" => "Build",
        "poddisruptionbudgets" => "PodDisruptionBudget",
        _ => return None,
    };
    Some((format!("{kind}List"), version))
}

fn refused(status: u16, reason: &str, message: &str) -> Response {
    let code = StatusCode::from_u16(status).unwrap();
    (code, axum::Json(status_object(status, reason, message))).into_response()
}

fn status_object(code: u16, reason: &str, message: &str) -> Value {
    let status = if code < 300 { "Success" } else { "Failure" };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": status, "message": message,
        "reason": reason, "code": code})
}

/// Returns a kubeconfig for `server` with one context, as people paste it.
pub(crate) fn kubeconfig(server: &ApiServer, token: &str) -> String {
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, server.certificate());
    let authority = if server.certificate().is_empty() {
        String::new()
    } else {
        format!(", certificate-authority-data: {data}")
    };
    let url = server.url();
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts:\n\
         - {{name: here, context: {{cluster: this, user: me, namespace: shop}}}}\n\
         - {{name: there, context: {{cluster: that, user: me}}}}\nclusters:\n\
         - {{name: this, cluster: {{server: '{url}'{authority}}}}}\nusers:\n\
         - {{name: me, user: {{token: '{token}'}}}}\n"
    )
}
