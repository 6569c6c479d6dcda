//! Channels to a server: real TLS against its CA, and a credential on every call.

use std::{net::SocketAddr, time::Duration};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig},
};

/// Longest that a call or a connection attempt may take before a test gives up on it.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A channel whose calls carry a credential; give it to any generated client's `new`.
pub type AuthorizedChannel = InterceptedService<Channel, Bearer>;

/// Puts `authorization: Bearer ...` on every call.
#[derive(Debug, Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A channel to `addr` over TLS that trusts `ca_pem`. It connects on first use and again whenever it must.
pub fn channel(addr: SocketAddr, ca_pem: &str) -> Channel {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem)).domain_name("localhost");
    Channel::from_shared(format!("https://{addr}"))
        .expect("an address makes a URI")
        .tls_config(tls)
        .expect("the server's CA is PEM")
        .connect_timeout(CALL_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .connect_lazy()
}

/// Calls through `channel` as the bearer of `token`.
pub fn authorized(channel: Channel, token: &str) -> AuthorizedChannel {
    let value = format!("Bearer {token}").parse().expect("a token is printable ASCII");
    InterceptedService::new(channel, Bearer(Some(value)))
}

/// Calls through `channel` as nobody.
pub fn anonymous(channel: Channel) -> AuthorizedChannel {
    InterceptedService::new(channel, Bearer(None))
}
