//! A wire that can be cut: a TCP proxy on an address that stays the same while the server behind it comes and goes.
//!
//! It forwards bytes and knows nothing of TLS, so both ends do their real handshakes through it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinSet,
};

/// What the wire does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// They pass.
    Up,
    /// Requests pass, replies vanish: what is sent is received, and its sender never learns.
    RepliesLost,
    /// Nothing passes, nothing is closed: a radio in a tunnel.
    Stalled,
    /// Connections are closed as soon as they are made.
    Cut,
}

/// A wire to a server. Dropping it closes every connection.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    upstream: Arc<Mutex<SocketAddr>>,
    state: watch::Sender<State>,
    _running: JoinSet<()>,
}

impl Link {
    /// Lays a wire to `upstream`.
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let upstream = Arc::new(Mutex::new(upstream));
        let (state, watching) = watch::channel(State::Up);
        let mut running = JoinSet::new();
        running.spawn(accept(listener, Arc::clone(&upstream), watching));
        Self { addr, upstream, state, _running: running }
    }

    /// The end that clients connect to; `localhost` and 127.0.0.1 are in the server's certificate.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Leads to another server from now on; connections that are open stay with the old one.
    pub fn lead_to(&self, upstream: SocketAddr) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream;
    }

    /// Closes every connection and refuses new ones until [`Link::mend`].
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Lets nothing through in either direction, and closes nothing.
    pub fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    /// Delivers what clients send and loses every reply. Connections that carried a lost reply are closed by
    /// [`Link::mend`] or [`Link::cut`], as the bytes that are gone leave them useless.
    ///
    /// A machine makes one Sync at a time and waits 30 s for its reply: one that is under way here, as a hint may have
    /// begun it unseen, keeps back the next. Where a Sync must come after this,
    /// [`SimMachine::lose_answers`](fleet_client::simulate::SimMachine::lose_answers) fails each as its reply comes.
    pub fn lose_replies(&self) {
        self.state.send_replace(State::RepliesLost);
    }

    /// Lets bytes pass again.
    pub fn mend(&self) {
        self.state.send_replace(State::Up);
    }
}

async fn accept(listener: TcpListener, upstream: Arc<Mutex<SocketAddr>>, state: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let to = *upstream.lock().unwrap_or_else(PoisonError::into_inner);
                connections.spawn(carry(client, to, state.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection; it ends, closing both sides, when either does or the wire is cut.
async fn carry(client: TcpStream, to: SocketAddr, mut state: watch::Receiver<State>) {
    let cut = state.clone();
    tokio::select! {
        _ = state.wait_for(|now| *now == State::Cut) => {}
        _ = async {
            let server = TcpStream::connect(to).await?;
            for side in [&client, &server] {
                side.set_nodelay(true)?;
            }
            let (client_read, client_write) = client.into_split();
            let (server_read, server_write) = server.into_split();
            tokio::select! {
                ended = pump(client_read, server_write, cut.clone(), true) => ended,
                ended = pump(server_read, client_write, cut, false) => ended,
            }
        } => {}
    }
}

async fn pump(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    requests: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut lost = false;
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            // A stream with a hole in it carries nothing more.
            _ = state.wait_for(|now| *now == State::Up), if lost => return Ok(()),
        };
        if read == 0 {
            return Ok(());
        }
        let now = *state.wait_for(|now| *now != State::Stalled).await.map_err(io::Error::other)?;
        if now == State::RepliesLost && !requests {
            lost = true;
        } else {
            to.write_all(&buffer[..read]).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::Link;

    /// Answers every byte with the byte after it.
    async fn successor() -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while let Ok(byte) = peer.read_u8().await {
                        peer.write_u8(byte + 1).await.unwrap();
                    }
                });
            }
        });
        addr
    }

    #[tokio::test]
    async fn a_cut_wire_closes_and_a_mended_one_carries() {
        let link = Link::to(successor().await).await;
        let mut client = TcpStream::connect(link.addr()).await.unwrap();
        client.write_u8(1).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 2);

        link.cut();
        client.read_u8().await.unwrap_err();
        TcpStream::connect(link.addr()).await.unwrap().read_u8().await.unwrap_err();

        link.mend();
        let mut client = TcpStream::connect(link.addr()).await.unwrap();
        client.write_u8(5).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 6);
    }

    #[tokio::test]
    async fn a_stalled_wire_keeps_what_it_was_given() {
        let link = Link::to(successor().await).await;
        let mut client = TcpStream::connect(link.addr()).await.unwrap();
        link.stall();
        client.write_u8(1).await.unwrap();
        link.mend();
        assert_eq!(client.read_u8().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_lost_reply_was_a_received_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Link::to(listener.local_addr().unwrap()).await;
        let mut client = TcpStream::connect(link.addr()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();

        link.lose_replies();
        client.write_u8(7).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), 7);
        server.write_u8(8).await.unwrap();
        server.shutdown().await.unwrap();
        client.read_u8().await.unwrap_err();
    }
}
