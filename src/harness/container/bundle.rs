//! The runc configuration of one step. Pure but for the question which of the host's files exist.

use std::path::Path;

use serde_json::{Value, json};

use super::MAPPED_ROOT;
use crate::concourse::Step;
use crate::harness::archive::Image;
use crate::harness::program::Call;

/// What the containerd worker leaves an unprivileged container.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

pub(super) fn config(call: &Call<'_>, image: &Image, certificates: &Path, build: &Path) -> Value {
    let target = if call.step == Step::Get { "/tmp/build/get" } else { "/tmp/build/put" };
    let executable = format!("/opt/resource/{}", call.step.executable());
    let args = if call.step == Step::Check { vec![executable] } else { vec![executable, target.to_owned()] };
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777"]}),
        bind("/etc/ssl/certs", certificates, "ro"),
    ];
    mounts.extend(
        ["/etc/resolv.conf", "/etc/hosts"]
            .into_iter()
            .filter(|path| Path::new(path).exists())
            .map(|path| bind(path, Path::new(path), "ro")),
    );
    if call.step != Step::Check {
        mounts.push(bind(target, build, "rw"));
    }
    let namespaces = ["pid", "ipc", "uts", "mount", "user"].map(|kind| json!({"type": kind}));
    let mapping = json!([{"containerID": 0, "hostID": MAPPED_ROOT, "size": 65536}]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": image.user.0, "gid": image.user.1},
            "args": args,
            "env": variables(call, image),
            "cwd": "/",
            "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "resource",
        "mounts": mounts,
        "linux": {
            "namespaces": namespaces,
            "uidMappings": mapping,
            "gidMappings": mapping,
        },
    })
}

fn bind(target: &str, source: &Path, mode: &str) -> Value {
    json!({"destination": target, "type": "bind", "source": source, "options": ["rbind", mode]})
}

/// The image's own variables, then Concourse's; the image's PATH stays.
fn variables(call: &Call<'_>, image: &Image) -> Vec<String> {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let has_path = image.variables.iter().any(|pair| name(pair) == "PATH");
    let ours = call.variables.iter().filter(|(name, _)| !(has_path && *name == "PATH"));
    image.variables.iter().cloned().chain(ours.map(|(name, value)| format!("{name}={value}"))).collect()
}
