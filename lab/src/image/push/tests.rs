//! Pushing, against a registry in this process that keeps what it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::super::{Entry, Layer, Parts};
use super::*;

#[derive(Clone, Default)]
struct Fake {
    stored: Arc<Mutex<BTreeMap<String, Bytes>>>,
    asked: Arc<Mutex<Vec<String>>>,
    password: Option<&'static str>,
}

impl Fake {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = fake.clone();
                let service = service_fn(move |request| {
                    let fake = fake.clone();
                    async move { Ok::<_, Infallible>(fake.answer(request).await) }
                });
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(
                    async move { server.serve_connection(TokioIo::new(stream), service).await.unwrap() },
                );
            }
        });
        format!("http://{address}")
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = head.uri.path().to_owned();
        self.asked.lock().unwrap().push(format!("{} {path}", head.method));
        if self
            .password
            .is_some_and(|password| head.headers.get("authorization").is_none_or(|value| value != password))
        {
            return status(StatusCode::UNAUTHORIZED);
        }
        let stored = &mut self.stored.lock().unwrap();
        match head.method {
            Method::HEAD if stored.contains_key(&path) => status(StatusCode::OK),
            Method::HEAD => status(StatusCode::NOT_FOUND),
            Method::POST => {
                // A path, and a query that has to be kept.
                let location = "/v2/app-foo/blobs/uploads/1?state=x";
                Response::builder().status(202).header("location", location).body(Full::default()).unwrap()
            }
            Method::PUT if path.contains("/uploads/") => {
                let query = head.uri.query().unwrap().to_owned();
                let digest = query.strip_prefix("state=x&digest=").unwrap().replace("%3A", ":");
                stored.insert(format!("/v2/app-foo/blobs/{digest}"), body);
                status(StatusCode::CREATED)
            }
            _ => {
                stored.insert(path, body);
                status(StatusCode::CREATED)
            }
        }
    }

    fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).unwrap()
}

fn image() -> Image {
    let files = BTreeMap::from([("a".to_owned(), Entry::text("1"))]);
    Image::new(Parts { layers: vec![Layer::new("a", &files).unwrap()], ..Parts::default() })
}

#[tokio::test]
async fn blobs_come_first_and_the_tag_last() {
    let fake = Fake::default();
    let registry = Registry::new(&fake.start().await, None, None).unwrap();
    let digest = registry.push(&image(), "app-foo", "latest").await.unwrap();
    assert_eq!(digest, image().digest());
    let asked = fake.take_asked();
    assert_eq!(asked.last().unwrap(), "PUT /v2/app-foo/manifests/latest");
    let stored = fake.stored.lock().unwrap();
    assert_eq!(super::super::sha256(&stored["/v2/app-foo/manifests/latest"]), digest);
    for blob in image().content() {
        assert_eq!(stored[&format!("/v2/app-foo/blobs/{}", blob.digest)], blob.bytes);
    }
}

#[tokio::test]
async fn what_is_there_already_is_not_sent_again() {
    let fake = Fake::default();
    let registry = Registry::new(&fake.start().await, None, None).unwrap();
    registry.push(&image(), "app-foo", "latest").await.unwrap();
    fake.take_asked();
    registry.push(&image(), "app-foo", "again").await.unwrap();
    let methods: Vec<String> =
        fake.take_asked().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(methods, ["HEAD", "HEAD", "PUT"]);
}

#[tokio::test]
async fn an_index_is_tagged_and_its_manifest_is_there_by_digest() {
    let fake = Fake::default();
    let registry = Registry::new(&fake.start().await, None, None).unwrap();
    let image = image().indexed();
    registry.push(&image, "app-foo", "latest").await.unwrap();
    let stored = fake.stored.lock().unwrap();
    assert!(stored.contains_key(&format!("/v2/app-foo/manifests/{}", image.manifest_digest())));
    assert_eq!(super::super::sha256(&stored["/v2/app-foo/manifests/latest"]), image.digest());
}

#[tokio::test]
async fn a_password_is_sent_and_a_wrong_one_is_an_error_that_does_not_show_it() {
    let fake = Fake { password: Some("Basic YW5uOnNlY3JldA=="), ..Fake::default() };
    let base = fake.start().await;
    let with = |password: &str| Credentials { username: "ann".to_owned(), password: password.to_owned() };
    let registry = Registry::new(&base, None, Some(with("secret"))).unwrap();
    registry.push(&image(), "app-foo", "latest").await.unwrap();
    let registry = Registry::new(&base, None, Some(with("canary"))).unwrap();
    let error = format!("{:#}", registry.push(&image(), "app-foo", "latest").await.unwrap_err());
    assert!(error.contains("401 Unauthorized") && !error.contains("canary"), "{error}");
}
