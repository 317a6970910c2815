//! Makes the lab's ports on 127.0.0.1 the same ones on the host. It listens on the host, then enters the lab's
//! network namespace, connects from there, and ends when the supervisor does.
//!
//! Talks to `lab up` on its standard streams: prints the ports it opened, reads the supervisor's process id,
//! prints `ready`.

use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::{TcpListener, TcpStream};

use super::processes::network_namespace;

/// Opens one port for each of `preferred`: that one when it is free, else any.
pub(crate) async fn forward(preferred: &[u16]) -> anyhow::Result<()> {
    let mut listeners = Vec::new();
    for port in preferred {
        listeners.push(listen(*port).await?);
    }
    let ports: Vec<_> = listeners.iter().map(|(port, _)| *port).collect();
    say(&serde_json::to_string(&ports).context("failed to render the ports")?)?;

    let Some(supervisor) = supervisor()? else { return Ok(()) };
    let gone = pidfd_open(supervisor, PidfdFlags::empty()).context("failed to find the supervisor")?;
    let namespace = network_namespace(supervisor.as_raw_nonzero().get().cast_unsigned());
    let namespace = File::open(namespace).context("failed to open the lab's network")?;
    // Only this thread enters it, and it is the one that connects.
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context("failed to enter the lab's network")?;
    drop(namespace);
    say("ready")?;

    for (port, listener) in listeners {
        tokio::spawn(serve(listener, port));
    }
    tokio::task::spawn_blocking(move || wait(&gone)).await.context("failed to watch the supervisor")?
}

async fn listen(preferred: u16) -> anyhow::Result<(u16, TcpListener)> {
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, preferred)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("failed to find a free port")?,
    };
    let port = listener.local_addr().context("failed to read a port")?.port();
    Ok((port, listener))
}

/// Reads the supervisor's process id; `None` when `lab up` has gone before it knew.
fn supervisor() -> anyhow::Result<Option<Pid>> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("failed to read the supervisor's process id")?;
    if line.is_empty() {
        return Ok(None);
    }
    let pid = line.trim().parse().context("the supervisor's process id is not a number")?;
    Ok(Pid::from_raw(pid))
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("failed to answer `lab up`")
}

/// Waits until the process has ended.
fn wait(process: &OwnedFd) -> anyhow::Result<()> {
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], None) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result.map(drop).context("failed to watch the supervisor"),
        }
    }
}

async fn serve(listener: TcpListener, port: u16) {
    loop {
        match listener.accept().await {
            Ok((outside, _)) => {
                tokio::spawn(connect(outside, port));
            }
            // Out of descriptors, most likely: connections that end give some back.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

/// Joins one connection. When the inside refuses, the outside is closed: there is nobody to tell but the client.
async fn connect(mut outside: TcpStream, port: u16) {
    let Ok(mut inside) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    let _ = (outside.set_nodelay(true), inside.set_nodelay(true));
    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_preferred_port_is_taken_when_it_is_free_and_replaced_when_it_is_not() {
        let (first, held) = listen(0).await.unwrap();
        let (second, _other) = listen(first).await.unwrap();
        assert_ne!(first, second);
        drop(held);
        let (third, _again) = listen(first).await.unwrap();
        assert_eq!(first, third);
    }
}
