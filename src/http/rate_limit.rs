//! Rate limits per client. Counters are in PostgreSQL, because the shop may run as several processes.
//!
//! A client is an IP address, stored as a keyed hash for a day. Clients without a readable address count as one, because
//! nothing unreadable may lift a limit: all clients behind a proxy that is missing in `TRUSTED_PROXIES` count as that
//! proxy, and all clients that a trusted proxy doesn't name count as one more. Loopback is exempt in development.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use axum::http::HeaderMap;
use sqlx::PgConnection;

use crate::app::App;
use crate::config::ClientAddress;
use crate::error::{Error, Result};

/// Key of all clients whose address a trusted proxy does not send readably.
const UNREADABLE: &str = "unreadable";

/// Actions with an hourly limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Checkout,
    CustomOrder,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Action::Checkout => "checkout",
            Action::CustomOrder => "custom_order",
        }
    }
}

/// A rate-limited client. `None` is not limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client(Option<Vec<u8>>);

impl Client {
    /// Identifies the client of a request from `peer`.
    pub fn of(app: &App, peer: IpAddr, headers: &HeaderMap) -> Client {
        let place = match app.config.client_address(peer, headers) {
            ClientAddress::Known(address) if is_developer(app, address) => None,
            ClientAddress::Known(address) => Some(place(address)),
            ClientAddress::Unreadable { .. } => Some(UNREADABLE.to_owned()),
        };
        Client(place.map(|place| hashed(app, &place)))
    }

    /// Returns the keyed hash stored in counters.
    pub fn hash(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }

    /// Counts an action and checks the hourly limit.
    ///
    /// # Errors
    /// 429 with the time until the next hour.
    pub async fn check(&self, app: &App, action: Action) -> Result<()> {
        let Some(hash) = self.hash() else {
            return Ok(());
        };
        let limits = &app.config.server.limits;
        let most = match action {
            Action::Checkout => limits.checkouts_per_hour,
            Action::CustomOrder => limits.custom_orders_per_hour,
        };
        let (count, wait): (i64, f64) = sqlx::query_as(
            "insert into rate_limit_counters (client, action, began_at, count)
             values ($1, $2, date_trunc('hour', now()), 1)
             on conflict (client, action, began_at) do update
             set count = rate_limit_counters.count + 1
             returning count, extract(epoch from began_at + interval '1 hour' - now())::float8",
        )
        .bind(hash)
        .bind(action.as_str())
        .fetch_one(&app.db)
        .await?;
        if count <= i64::from(most) {
            return Ok(());
        }
        let wait = Duration::from_secs_f64(wait.ceil().max(1.0));
        tracing::warn!(
            action = action.as_str(),
            count,
            "a client exceeded a rate limit"
        );
        Err(Error::TooMany(
            None,
            wait,
            format!(
                "There were too many requests from your network. Please try again in {}.",
                in_words(wait)
            ),
        ))
    }

    /// Serializes the client's checkouts until the transaction ends, so that each one sees the holds of the previous
    /// ones. Take this lock before all others except that of the idempotency key.
    pub async fn serialize_for_client(&self, conn: &mut PgConnection) -> Result<()> {
        if let Some(hash) = self.hash() {
            sqlx::query(
                "select pg_advisory_xact_lock(hashtextextended('client ' || encode($1, 'hex'), 0))",
            )
            .bind(hash)
            .execute(conn)
            .await?;
        }
        Ok(())
    }
}

/// Returns the keyed hash of a request's address, limited or not.
pub fn address_of(app: &App, peer: IpAddr, headers: &HeaderMap) -> String {
    let place = match app.config.client_address(peer, headers) {
        ClientAddress::Known(address) => place(address),
        ClientAddress::Unreadable { .. } => UNREADABLE.to_owned(),
    };
    let hash = hashed(app, &place);
    hex::encode(hash)
}

fn hashed(app: &App, place: &str) -> Vec<u8> {
    app.signer.derive("client", place)[..16].to_vec()
}

/// Deletes counters that no limit needs any more. Safe to repeat.
pub async fn sweep(conn: &mut PgConnection) -> Result<()> {
    sqlx::query("delete from rate_limit_counters where began_at < now() - interval '1 day'")
        .execute(conn)
        .await?;
    Ok(())
}

/// Formats a duration: `40 seconds`, or `12 minutes`.
pub fn in_words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..=90 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// Returns the unit that is counted for an address. For IPv6 this is the /64 network, because a client with one address
/// usually has all of them.
pub fn place(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            format!("{}/64", Ipv6Addr::from_bits(network))
        }
    }
}

/// Reports whether the client is a developer on this machine. In production, loopback is a proxy.
fn is_developer(app: &App, address: IpAddr) -> bool {
    !app.config.is_production() && address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_ipv6_network_is_one_place() {
        let place = |text: &str| place(address(text));
        assert_eq!(place("203.0.113.7"), "203.0.113.7");
        assert_eq!(place("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(place("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(place("2001:db8:1:2::1"), place("2001:db8:1:2:ffff::1"));
    }
}
