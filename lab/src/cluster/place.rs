//! Where one checkout's lab keeps what it has: its key, its directory on the host, its files in the checkout,
//! and the paths and addresses that are the same inside every lab.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// The lab's own directory as every part inside its mount namespace sees it.
pub(crate) const INSIDE: &str = "/run/lab";
/// The node's address: the API server and kubelet find each other here, and pods reach the registries.
pub(crate) const NODE_ADDRESS: &str = "10.200.0.1";
/// The first and the last node port.
pub(crate) const NODE_PORTS: [u16; 2] = [30000, 30063];
/// The node's name.
pub(crate) const NODE: &str = "lab";
/// The image that holds a pod's namespaces.
pub(crate) const SANDBOX_IMAGE: &str = "rollway.dev/pause:lab";

/// The places of one checkout's lab.
#[derive(Clone, Debug)]
pub struct Place {
    checkout: PathBuf,
    key: String,
}

impl Place {
    /// Returns the places of the lab of `checkout`, which must exist.
    pub fn new(checkout: &Path) -> anyhow::Result<Self> {
        let checkout = checkout
            .canonicalize()
            .with_context(|| format!("failed to find the checkout `{}`", checkout.display()))?;
        let key = key(&checkout);
        Ok(Self { checkout, key })
    }

    /// The checkout's canonical path.
    pub fn checkout(&self) -> &Path {
        &self.checkout
    }

    /// What tells this lab's processes, cgroups and directories from another checkout's.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The argument that every process of this lab which the host can see carries.
    pub(crate) fn marker(&self) -> String {
        format!("--key={}", self.key)
    }

    /// The directory on the host that is [`INSIDE`] in the lab; `lab down` removes it.
    pub(crate) fn data(&self) -> PathBuf {
        Path::new("/var/lib/rollway-lab").join(&self.key)
    }

    /// The name of the lab's group in every cgroup hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("rollway-lab-{}", self.key)
    }

    /// The directory in the checkout for what people and tests read.
    pub fn target(&self) -> PathBuf {
        self.checkout.join("target/lab")
    }

    /// The logs, one file for each part; they outlive the lab.
    pub fn logs(&self) -> PathBuf {
        self.target().join("logs")
    }

    /// The description of the running lab.
    pub fn state(&self) -> PathBuf {
        self.target().join("lab.json")
    }

    /// The kubeconfig with all contexts.
    pub fn kubeconfig(&self) -> PathBuf {
        self.target().join("kubeconfig")
    }

    /// The certificate authority of the API server and of the registries that speak TLS.
    pub fn authority(&self) -> PathBuf {
        self.target().join("ca.pem")
    }

    /// The lock that `up` and `down` hold.
    pub(crate) fn lock(&self) -> PathBuf {
        self.target().join("lock")
    }
}

fn key(checkout: &Path) -> String {
    let hash = Sha256::digest(checkout.as_os_str().as_encoded_bytes());
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_checkouts_have_two_keys_and_one_checkout_has_one() {
        assert_eq!(key(Path::new("/a")), key(Path::new("/a")));
        assert_ne!(key(Path::new("/a")), key(Path::new("/b")));
        assert_eq!(key(Path::new("/a")).len(), 8);
    }

    #[test]
    fn the_same_directory_by_another_name_is_the_same_lab() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        let checkout = directory.path().join("checkout");
        std::fs::create_dir(&checkout).unwrap();
        std::os::unix::fs::symlink(&checkout, &link).unwrap();
        assert_eq!(Place::new(&checkout).unwrap().key(), Place::new(&link).unwrap().key());
    }

    #[test]
    fn a_checkout_that_does_not_exist_is_named() {
        let error = Place::new(Path::new("/no/such/checkout")).unwrap_err();
        assert!(error.to_string().contains("`/no/such/checkout`"), "{error}");
    }
}
