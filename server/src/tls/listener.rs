//! Taking connections: caps per address and in all, socket options, the TLS handshake with its time limit.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{ServerTls, certificate_identity};
use crate::{
    auth::CertificateIdentity,
    config::{LimitsConfig, TlsConfig},
    context::Context as Clocks,
    limits::{SocketProgress, network},
    metrics::{KindLabels, Metrics},
};

/// Pause after the system refused to accept (most often: no more file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end, as the transport knows it. In the extensions of every request.
#[derive(Debug, Clone, Copy)]
pub struct PeerInfo {
    /// Address and port.
    pub address: SocketAddr,
    /// The identity in the client certificate, when one was shown.
    pub certificate: Option<CertificateIdentity>,
}

/// A listening socket and its caps.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServerTls>>,
    handshake_timeout: Duration,
    keepalive: Duration,
    max: usize,
    max_per_ip: usize,
    open: Arc<Mutex<Open>>,
    context: Clocks,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    /// By [`network`].
    per_ip: HashMap<IpAddr, usize>,
}

/// Most connections, in all and of one address.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionCaps {
    /// In all.
    pub all: usize,
    /// Of one [`network`].
    pub per_ip: usize,
}

/// A place under the caps, given back when the connection is gone.
#[derive(Debug)]
struct Place {
    ip: IpAddr,
    open: Arc<Mutex<Open>>,
    metrics: Metrics,
}

/// A connection that was let in, before its handshake.
#[derive(Debug)]
pub struct Accepted {
    stream: Socket,
    address: SocketAddr,
    place: Place,
    tls: Option<Arc<ServerTls>>,
    handshake_timeout: Duration,
}

impl Listener {
    /// Listens there. Without `tls` connections are plain.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Arc<ServerTls>>,
        tls_config: &TlsConfig,
        limits: &LimitsConfig,
        caps: ConnectionCaps,
        context: Clocks,
        metrics: Metrics,
    ) -> io::Result<Self> {
        Ok(Self {
            socket: TcpListener::bind(address).await?,
            tls,
            handshake_timeout: Duration::from_millis(tls_config.handshake_timeout_ms),
            keepalive: Duration::from_millis(limits.keepalive_interval_ms),
            max: caps.all,
            max_per_ip: caps.per_ip,
            open: Arc::default(),
            context,
            metrics,
        })
    }

    /// Where it listens, with the real port.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection under the caps; those above are closed. Never fails: what the system refuses is waited out.
    pub async fn accept(&self) -> Accepted {
        loop {
            let (stream, address) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(cause) => {
                    tracing::warn!(%cause, "accept failed");
                    self.refused("accept_failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let ip = network(address.ip());
            let place = match self.place(ip) {
                Ok(place) => place,
                Err(cause) => {
                    tracing::debug!(%ip, cause, "connection refused");
                    self.refused(cause);
                    continue;
                }
            };
            if let Err(cause) = self.set_options(&stream) {
                tracing::debug!(%cause, "socket options not set");
            }
            let (tls, handshake_timeout) = (self.tls.clone(), self.handshake_timeout);
            let stream = Socket { stream, progress: SocketProgress::new(self.context.clone()) };
            return Accepted { stream, address, place, tls, handshake_timeout };
        }
    }

    fn refused(&self, kind: &'static str) {
        self.metrics.connections_refused.get_or_create(&KindLabels { kind }).inc();
    }

    fn place(&self, ip: IpAddr) -> Result<Place, &'static str> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.max {
            return Err("max_connections");
        }
        let of_ip = open.per_ip.entry(ip).or_insert(0);
        if *of_ip >= self.max_per_ip {
            return Err("max_connections_per_ip");
        }
        *of_ip += 1;
        open.total += 1;
        self.metrics.connections.inc();
        Ok(Place { ip, open: self.open.clone(), metrics: self.metrics.clone() })
    }

    fn set_options(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(self.keepalive).with_interval(self.keepalive);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(of_ip) = open.per_ip.get_mut(&self.ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                open.per_ip.remove(&self.ip);
            }
        }
        self.metrics.connections.dec();
    }
}

impl Accepted {
    /// Does the handshake. The place under the caps is held by the stream.
    pub async fn handshake(self) -> io::Result<(Stream, PeerInfo)> {
        let Some(tls) = self.tls else {
            let peer = PeerInfo { address: self.address, certificate: None };
            let progress = self.stream.progress.clone();
            return Ok((Stream { inner: Inner::Plain(self.stream), progress, _place: self.place }, peer));
        };
        let progress = self.stream.progress.clone();
        let handshake = TlsAcceptor::from(tls.current()).accept(self.stream);
        let stream = tokio::time::timeout(self.handshake_timeout, handshake)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake took too long"))??;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = certificate.and_then(|der| certificate_identity(der));
        let peer = PeerInfo { address: self.address, certificate };
        Ok((Stream { inner: Inner::Tls(Box::new(stream)), progress, _place: self.place }, peer))
    }
}

/// A connection, plain or TLS.
#[derive(Debug)]
pub struct Stream {
    inner: Inner,
    progress: Arc<SocketProgress>,
    _place: Place,
}

#[derive(Debug)]
enum Inner {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// A socket that notes whether it takes what is written to it.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    progress: Arc<SocketProgress>,
}

impl Stream {
    /// Whether the socket takes what is written to it.
    pub fn progress(&self) -> &Arc<SocketProgress> {
        &self.progress
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_pending() {
            self.progress.blocked();
        } else {
            self.progress.moved();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    // No vectored writes: HTTP/2 would write each answer of more than 256 bytes by itself, to save copying it. Copied, a
    // hundred answers are a few TLS records and system calls.
}
