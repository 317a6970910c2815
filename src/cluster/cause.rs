//! Finds in an error of the client what a person needs to know: which of the few things that go
//! wrong between two machines it was. Pure; the wording is in `error`.

use std::error::Error;
use std::io;

use super::deadline::Elapsed;

const TRUST: &str = "set `certificate_authority` to the cluster's own, or `insecure_skip_tls_verify: true`";
const RENEW: &str = "renew the API server's certificate, or set this machine's clock";
const NAME: &str = "use an address that the certificate names, or set `tls-server-name` in the kubeconfig";
/// How many of a certificate's names are worth reading.
const NAMES_SHOWN: usize = 4;

/// Why no answer came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The certificate of the server is not good; with what is wrong about it, and what helps.
    Certificate { why: String, remedy: &'static str },
    /// Nothing came back, with the reason.
    Connection(String),
    /// The credential plugin of the kubeconfig did not help, with the reason.
    Plugin(String),
    /// Something else.
    Other(String),
}

/// Returns the most telling cause in the chain of `error`.
pub(super) fn find(error: &(dyn Error + 'static)) -> Cause {
    let chain = chain(error);
    chain.iter().find_map(|link| known(*link)).unwrap_or_else(|| {
        let last = chain.last().map_or_else(|| error.to_string(), ToString::to_string);
        Cause::Other(last)
    })
}

/// Walks the sources; an `io::Error` hides the error it wraps, so that one is unwrapped by hand.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut links: Vec<&'a (dyn Error + 'static)> = vec![error];
    let mut link = error;
    loop {
        let wrapped = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let next: Option<&'a (dyn Error + 'static)> = match wrapped {
            Some(inner) => Some(inner),
            None => link.source(),
        };
        match next {
            Some(inner) => {
                links.push(inner);
                link = inner;
            }
            None => return links,
        }
    }
}

fn known(link: &(dyn Error + 'static)) -> Option<Cause> {
    if let Some(error) = link.downcast_ref::<rustls::Error>() {
        return Some(tls(error));
    }
    if link.is::<Elapsed>() {
        return Some(Cause::Connection(link.to_string()));
    }
    if let Some(error) = link.downcast_ref::<kube::client::AuthError>() {
        return Some(plugin(error));
    }
    // hyper-util's resolver and proxy errors have no public type; their text is the only mark.
    let text = link.to_string();
    if text.starts_with("dns error") || text.contains("failed to lookup address") {
        return Some(Cause::Connection("no such host name".to_owned()));
    }
    let error = link.downcast_ref::<io::Error>().filter(|error| error.get_ref().is_none())?;
    Some(Cause::Connection(io_reason(error)))
}

fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        io::ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection was closed in mid-answer".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route to it".to_owned(),
        _ => error.to_string(),
    }
}

fn tls(error: &rustls::Error) -> Cause {
    use rustls::CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return match error {
            rustls::Error::InvalidMessage(_) => Cause::Connection("it does not speak TLS".to_owned()),
            other => Cause::Connection(other.to_string()),
        };
    };
    let (why, remedy) = match bad {
        Bad::UnknownIssuer => ("signed by an unknown authority".to_owned(), TRUST),
        // Every cluster's authority is called `kubernetes`, so this is another cluster's certificate.
        Bad::BadSignature => ("signed by another authority of the same name".to_owned(), TRUST),
        Bad::Expired | Bad::ExpiredContext { .. } => ("expired".to_owned(), RENEW),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => ("not valid yet".to_owned(), RENEW),
        Bad::NotValidForName => ("made out to another name".to_owned(), NAME),
        Bad::NotValidForNameContext { presented, .. } => {
            let names: Vec<&str> = presented.iter().take(NAMES_SHOWN).map(String::as_str).collect();
            (format!("made out to other names ({})", names.join(", ")), NAME)
        }
        other => (format!("refused: {other}"), TRUST),
    };
    Cause::Certificate { why, remedy }
}

/// Says what became of a credential plugin without its output, which may hold the credential.
fn plugin(error: &kube::client::AuthError) -> Cause {
    use kube::client::AuthError as Auth;
    Cause::Plugin(match error {
        Auth::AuthExecStart(source) => format!("its command cannot be run here ({})", source.kind()),
        Auth::AuthExecRun { out, .. } => format!("its command ended with {}", out.status),
        Auth::AuthExecParse(_) => "its command wrote something else than an ExecCredential".to_owned(),
        Auth::ReadTokenFile(_, path) => format!("the token file `{}` cannot be read", path.display()),
        Auth::InvalidBearerToken(_) => "the token has characters that no token has".to_owned(),
        Auth::InvalidBasicAuth(_) => "the password has characters that cannot be sent".to_owned(),
        Auth::AuthExec(_) => "its `auth-provider` is not supported".to_owned(),
        Auth::ExecPluginFailed | Auth::UnrefreshableTokenResponse => {
            "its command gave no credential".to_owned()
        }
        _ => "its answer cannot be used".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error (Connect)")]
    struct Outer(#[source] io::Error);

    fn cause_of(error: io::Error) -> Cause {
        find(&Outer(error))
    }

    #[test]
    fn refused_connection_is_found_below_the_clients_layers() {
        let cause = cause_of(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(cause, Cause::Connection("connection refused".to_owned()));
    }

    #[test]
    fn certificate_error_is_found_inside_an_io_error() {
        let bad = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let cause = cause_of(io::Error::new(io::ErrorKind::InvalidData, bad));
        assert_eq!(
            cause,
            Cause::Certificate { why: "signed by an unknown authority".to_owned(), remedy: TRUST }
        );
    }

    #[test]
    fn host_name_that_does_not_resolve_is_said_in_short() {
        let cause =
            cause_of(io::Error::other("failed to lookup address information: Name or service not known"));
        assert_eq!(cause, Cause::Connection("no such host name".to_owned()));
    }

    #[test]
    fn unknown_error_is_given_by_its_innermost_words() {
        let cause = cause_of(io::Error::other("something new"));
        assert_eq!(cause, Cause::Other("something new".to_owned()));
    }
}
