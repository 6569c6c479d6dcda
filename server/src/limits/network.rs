//! Which addresses are one stranger.

use std::net::{IpAddr, Ipv6Addr};

/// The network that an address is counted under: an IPv4 address is itself, also when it came as IPv6; of an IPv6 address
/// the first 64 bits count, because whoever has one has all 2^64 of them (RFC 6177, RFC 7421).
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
    }
}
