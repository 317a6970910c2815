//! The keys of a `source` that say which cluster, declared once for every resource type: serde refuses
//! unknown keys only in a struct that has all of its fields itself.

/// Declares a `source` that begins with the keys of a cluster and goes on with its own.
macro_rules! with_cluster_keys {
    ($(#[$meta:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        pub struct $name {
            /// A kubeconfig, pasted. Excludes `server`, `token` and `certificate_authority`. Without any of
            /// these: the service account of the pod that runs this.
            #[serde(default, deserialize_with = "crate::cluster::text_or_mapping")]
            #[schemars(schema_with = "crate::cluster::text_or_mapping_schema")]
            pub kubeconfig: Option<secrecy::SecretString>,
            /// The URL of the API server; needs `token`.
            #[serde(default, deserialize_with = "crate::cluster::optional_text")]
            pub server: Option<String>,
            /// A service account's token; needs `server`.
            #[serde(default, deserialize_with = "crate::cluster::optional_secret")]
            #[schemars(with = "Option<String>")]
            pub token: Option<secrecy::SecretString>,
            /// The certificates that `server` is trusted by, as PEM text or base64 of it. Default: the
            /// system's.
            #[serde(default, deserialize_with = "crate::cluster::optional_text")]
            pub certificate_authority: Option<String>,
            /// The context of the kubeconfig to use. Default, also when empty: its current one.
            #[serde(default, deserialize_with = "crate::cluster::optional_text")]
            pub context: Option<String>,
            /// Talk to a server whose certificate nobody vouches for. Default: false.
            #[serde(default, deserialize_with = "crate::cluster::flag")]
            #[schemars(schema_with = "crate::cluster::flag_schema")]
            pub insecure_skip_tls_verify: bool,
            /// The namespace of what this is about. Default: the context's, else `default`.
            #[serde(default, deserialize_with = "crate::cluster::optional_text")]
            pub namespace: Option<String>,
            $($own)*
        }

        impl $name {
            /// Returns the access that the keys describe.
            fn access(&self) -> crate::cluster::Access {
                crate::cluster::Access {
                    kubeconfig: self.kubeconfig.clone(),
                    server: self.server.clone(),
                    token: self.token.clone(),
                    certificate_authority: self.certificate_authority.clone(),
                    context: self.context.clone(),
                    insecure_skip_tls_verify: self.insecure_skip_tls_verify,
                    namespace: self.namespace.clone(),
                    ..crate::cluster::Access::default()
                }
            }
        }
    };
}

pub(crate) use with_cluster_keys;

/// Returns whether `text` is an RFC 1123 subdomain, which every name in a URL here is.
pub(crate) fn is_name(text: &str) -> bool {
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 253
        && bytes.iter().copied().all(is_allowed)
        && is_end(bytes.first())
        && is_end(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_cannot_leave_its_place_in_a_url() {
        for good in ["app", "a", "web-1", "a.b"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "App", "a/b", "../pods", "a b", "-a", "a?x", "a%2f", &"a".repeat(254)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
