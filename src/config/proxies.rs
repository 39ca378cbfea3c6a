//! Trusted proxies: the address and the scheme of the client behind them.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use super::Config;

/// Client address of a request, as far as trusted proxies report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    Known(IpAddr),
    /// A trusted proxy forwards for a client whose address is unreadable.
    Unreadable {
        proxy: IpAddr,
    },
}

impl ClientAddress {
    /// The client's address, or the nearest proxy's when the client's is unreadable.
    pub fn ip(self) -> IpAddr {
        match self {
            ClientAddress::Known(address) | ClientAddress::Unreadable { proxy: address } => address,
        }
    }
}

impl Config {
    /// Determines the client of a request. Behind trusted proxies it is the rightmost entry of `X-Forwarded-For` that
    /// is not a proxy, because a client can forge the entries to its left.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let mut client = peer.to_canonical();
        if !self.trusts(client) || !headers.contains_key("x-forwarded-for") {
            return ClientAddress::Known(client);
        }
        let mut is_named = false;
        for hop in forwarded_for(headers).into_iter().rev() {
            match hop.and_then(address) {
                Some(address) => client = address,
                None => return ClientAddress::Unreadable { proxy: client },
            }
            is_named = true;
            if !self.trusts(client) {
                break;
            }
        }
        if is_named {
            ClientAddress::Known(client)
        } else {
            ClientAddress::Unreadable { proxy: client }
        }
    }

    /// Returns true when a trusted proxy reports that the client used HTTPS.
    pub fn is_forwarded_https(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let scheme = headers
            .get("x-forwarded-proto")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(',').next());
        self.trusts(peer) && scheme.is_some_and(|it| it.trim().eq_ignore_ascii_case("https"))
    }
}

/// All entries of all such headers, in order; `None` for a header that is not text. Empty entries are skipped.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1.2>
fn forwarded_for(headers: &HeaderMap) -> Vec<Option<&str>> {
    let mut hops = Vec::new();
    for line in headers.get_all("x-forwarded-for") {
        match line.to_str() {
            Ok(line) => hops.extend(line.split(',').map(Some)),
            Err(_) => hops.push(None),
        }
    }
    hops.retain(|hop| hop.is_none_or(|hop| !hop.trim().is_empty()));
    hops
}

/// Parses one entry: an address of either version, with or without brackets, port, zone or quotes.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let hop = hop
        .strip_prefix('"')
        .and_then(|hop| hop.strip_suffix('"'))
        .unwrap_or(hop);
    let without_port = match hop.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let is_port = |port: &str| port.parse::<u16>().is_ok();
            if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
                return None;
            }
            address
        }
        None => hop,
    };
    let without_zone = without_port
        .split_once('%')
        .map_or(without_port, |(address, _)| address);
    without_zone
        .parse()
        .or_else(|_| hop.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> ClientAddress {
        let config = Config::read(|name| match name {
            "TRUSTED_PROXIES" => Some("10.0.0.0/8, ::1".to_owned()),
            _ => None,
        });
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().expect("a header"));
        }
        let peer = peer.parse().expect("an address");
        config.expect("valid").client_address(peer, &headers)
    }

    #[test]
    fn the_client_is_the_last_one_that_no_proxy_of_ours_is() {
        for (peer, forwarded, expected) in [
            ("203.0.113.7", &[][..], "203.0.113.7"),
            ("203.0.113.7", &["198.51.100.1"], "203.0.113.7"),
            ("10.1.1.1", &[], "10.1.1.1"),
            ("10.1.1.1", &["198.51.100.1"], "198.51.100.1"),
            (
                "10.1.1.1",
                &["6.6.6.6, 198.51.100.1, 10.2.2.2"],
                "198.51.100.1",
            ),
            (
                "10.1.1.1",
                &["6.6.6.6", "198.51.100.1:4711"],
                "198.51.100.1",
            ),
            ("10.1.1.1", &["198.51.100.1 ,\t10.2.2.2 , "], "198.51.100.1"),
            ("10.1.1.1", &["198.51.100.1", ""], "198.51.100.1"),
            ("10.1.1.1", &["unknown, 198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", &["10.3.3.3"], "10.3.3.3"),
            ("::1", &["2001:db8::1"], "2001:db8::1"),
            ("::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("::1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("::1", &["\"[2001:db8::1]:80\""], "2001:db8::1"),
            ("::1", &["fe80::1%eth0"], "fe80::1"),
            ("::ffff:10.1.1.1", &["::ffff:9.9.9.9"], "9.9.9.9"),
            ("::ffff:10.1.1.1", &["[::ffff:9.9.9.9]:1"], "9.9.9.9"),
        ] {
            let expected = ClientAddress::Known(expected.parse().expect("an address"));
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_nobody_else() {
        for (forwarded, proxy) in [
            (&["6.6.6.6, unknown"][..], "10.1.1.1"),
            (&["6.6.6.6, unknown, 10.2.2.2"], "10.2.2.2"),
            (&[""], "10.1.1.1"),
            (&[" , "], "10.1.1.1"),
            (&["_hidden"], "10.1.1.1"),
            (&["[2001:db8::1"], "10.1.1.1"),
            (&["[2001:db8::1]x"], "10.1.1.1"),
            (&["[2001:db8::1]:99999"], "10.1.1.1"),
            (&["1.2.3.4:99999"], "10.1.1.1"),
            (&["1.2.3"], "10.1.1.1"),
            (&["caf\u{e9}"], "10.1.1.1"),
        ] {
            let proxy = proxy.parse().expect("an address");
            assert_eq!(
                client("10.1.1.1", forwarded),
                ClientAddress::Unreadable { proxy },
                "{forwarded:?}"
            );
        }
    }
}
