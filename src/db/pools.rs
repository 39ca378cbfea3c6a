//! The pools: who may keep how many connections, so that a rush of one kind leaves room for the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgPool, Row};
use tokio::time::{sleep, timeout};

use crate::config::FEWEST_DATABASE_CONNECTIONS;

use super::liveness::{Liveness, PING_LIMIT, READ_ONLY};
use super::route::Route;

/// How long a request or job waits for a connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that lay idle longer is asked for a sign of life before it is used. One just used is alive, and asking
/// each time would double the round trips of every read.
const IDLE_LIMIT: Duration = Duration::from_millis(250);

/// How often idle connections are used, so that no firewall forgets them, and the dead ones are found before a request
/// needs them. Firewalls keep idle lines for a minute at least; most for five.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Connections for requests, and apart from them for what must never wait behind a rush of requests.
#[derive(Clone, Debug)]
pub struct Pools {
    pub requests: PgPool,
    /// For Stripe's webhooks: each may be a payment.
    pub webhooks: PgPool,
    /// For `/readyz` and the figures of Prometheus.
    pub health: PgPool,
    /// For background jobs. One connection more listens for new jobs.
    pub worker: PgPool,
    pub liveness: Arc<Liveness>,
    /// The way to the server past a pooler, for the listener.
    pub(super) direct: PgConnectOptions,
}

/// How many connections each pool may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    requests: u32,
    webhooks: u32,
    health: u32,
    worker: u32,
}

impl Shares {
    /// Divides what the process may have in all. One more is the listener's.
    fn of(total: u32) -> Shares {
        let total = total.max(FEWEST_DATABASE_CONNECTIONS);
        let health = if total < 16 { 1 } else { 2 };
        let webhooks = total / 8;
        let worker = (total / 4).max(2);
        Shares {
            requests: total - health - webhooks - worker - 1,
            webhooks,
            health,
            worker,
        }
    }
}

impl Pools {
    /// Pools of so many connections in all, made when they are needed. `direct` is the way for those that a pooler
    /// cannot serve.
    pub fn new(
        options: &PgConnectOptions,
        route: Route,
        direct: PgConnectOptions,
        total: u32,
    ) -> Pools {
        let liveness = Arc::new(Liveness::default());
        let shares = Shares::of(total);
        let pool = |most| pool(options, route, &liveness, most);
        let pools = Pools {
            requests: pool(shares.requests),
            webhooks: pool(shares.webhooks),
            health: pool(shares.health),
            worker: pool(shares.worker),
            liveness: liveness.clone(),
            direct,
        };
        for pool in pools.all() {
            tokio::spawn(keep_alive(pool.clone(), liveness.clone()));
        }
        pools
    }

    /// How many of the requests' connections searches may have at once.
    pub fn searches(&self) -> usize {
        let most = self.requests.options().get_max_connections() / 4;
        most.max(1) as usize
    }

    /// Closes every connection.
    pub async fn close(&self) {
        for pool in self.all() {
            pool.close().await;
        }
    }

    fn all(&self) -> [&PgPool; 4] {
        [&self.requests, &self.webhooks, &self.health, &self.worker]
    }
}

/// A pool that hands out no connection of which it is known, or to be expected, that it is dead.
pub(super) fn pool(
    options: &PgConnectOptions,
    route: Route,
    liveness: &Arc<Liveness>,
    most: u32,
) -> PgPool {
    let [at_start, before, after] = [(); 3].map(|()| liveness.clone());
    let first_words = format!("{}{READ_ONLY}", route.first_words());
    PgPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Without a line of the log for each that waited: in a flood that is one more. The metrics tell how long one waits.
        .acquire_slow_threshold(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(move |conn, _| {
            let (liveness, first_words) = (at_start.clone(), first_words.clone());
            Box::pin(async move {
                let began = Instant::now();
                let words = sqlx::raw_sql(sqlx::AssertSqlSafe(first_words));
                let read_only = words.fetch_one(conn).await?.try_get(0)?;
                liveness.met(read_only, began);
                Ok(())
            })
        })
        .before_acquire(move |conn, meta| {
            let liveness = before.clone();
            Box::pin(async move {
                if !liveness.is_usable(meta.age) {
                    return Ok(false);
                }
                if meta.idle_for <= IDLE_LIMIT {
                    return Ok(true);
                }
                let began = Instant::now();
                let is_alive = matches!(timeout(PING_LIMIT, conn.ping()).await, Ok(Ok(())));
                if !is_alive {
                    liveness.suspect(began);
                }
                Ok(is_alive)
            })
        })
        .after_release(move |conn, meta| {
            let liveness = after.clone();
            Box::pin(async move {
                // What was begun and left, as by a request that timed out, is waited for; but not for ever, as the
                // pool itself does, or a line that died in the middle would take its place in the pool along.
                let left = timeout(PING_LIMIT, conn.flush()).await;
                Ok(matches!(left, Ok(Ok(()))) && liveness.is_usable(meta.age))
            })
        })
        .connect_lazy_with(route.options(options))
}

/// Uses the idle connections of a pool now and then, until it is closed.
async fn keep_alive(pool: PgPool, liveness: Arc<Liveness>) {
    let closed = pool.close_event();
    let asking = async {
        loop {
            sleep(KEEP_ALIVE).await;
            for _ in 0..pool.num_idle() {
                let Some(mut conn) = pool.try_acquire() else {
                    break;
                };
                if !liveness.ask(&mut conn).await {
                    drop(conn.detach());
                }
            }
        }
    };
    tokio::select! {
        () = closed => {}
        () = asking => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_connection_and_requests_have_most() {
        for total in FEWEST_DATABASE_CONNECTIONS..=1000 {
            let shares = Shares::of(total);
            let sum = shares.requests + shares.webhooks + shares.health + shares.worker + 1;
            assert_eq!(sum, total);
            assert!(shares.webhooks >= 1 && shares.health >= 1 && shares.worker >= 2);
            let most = shares.webhooks.max(shares.health).max(shares.worker);
            assert!(shares.requests > most, "{shares:?}");
        }
    }
}
