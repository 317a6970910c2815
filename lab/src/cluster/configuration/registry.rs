//! The three faces of the registry. They share nothing, so that what is pushed to one is not in another.

use serde_json::{Value, json};

use super::File;
use crate::cluster::place::INSIDE;
use crate::cluster::plan::Ports;

/// The configuration of each face.
pub(super) fn files(ports: Ports) -> Vec<File> {
    let tls = json!({
        "certificate": format!("{INSIDE}/pki/registry.crt"),
        "key": format!("{INSIDE}/pki/registry.key"),
    });
    let password =
        json!({ "htpasswd": { "realm": "rollway-lab", "path": format!("{INSIDE}/registry/htpasswd") } });
    let faces = [
        ("plain", ports.plain, None, None),
        ("tls", ports.tls, Some(tls.clone()), None),
        ("auth", ports.auth, Some(tls), Some(password)),
    ];
    faces
        .into_iter()
        .map(|(name, port, tls, auth)| {
            File::new(format!("registry/{name}.yaml"), configuration(name, port, tls, auth))
        })
        .collect()
}

fn configuration(name: &str, port: u16, tls: Option<Value>, auth: Option<Value>) -> String {
    let mut http = json!({ "addr": format!("0.0.0.0:{port}"), "secret": "one registry, one process" });
    if let Some(tls) = tls {
        http["tls"] = tls;
    }
    let mut configuration = json!({
        "version": 0.1,
        "log": { "level": "info", "accesslog": { "disabled": false } },
        "storage": {
            "filesystem": { "rootdirectory": format!("{INSIDE}/registry/{name}") },
            "delete": { "enabled": true },
        },
        "http": http,
    });
    if let Some(auth) = auth {
        configuration["auth"] = auth;
    }
    format!("{configuration:#}\n")
}
