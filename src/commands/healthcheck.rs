//! `vendfleet healthcheck`.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use server::config::Config;

/// Most bytes of an answer looked at.
const MAX_ANSWER_BYTES: u64 = 65_536;

pub(crate) fn run(config: &Config, timeout_ms: u64) -> Result<ExitCode> {
    let address = reachable(config.server.http_listen);
    let timeout = Duration::from_millis(timeout_ms.max(1));
    let mut stream = TcpStream::connect_timeout(&address, timeout).with_context(|| format!("{address}"))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer).with_context(|| format!("{address}"))?;
    println!("{}", answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim());
    let ok = answer.split(' ').nth(1) == Some("200");
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An address that listens everywhere is asked on this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
