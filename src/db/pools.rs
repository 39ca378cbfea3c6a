//! Connection pools, one per kind of work, so that a rush of one kind leaves connections for the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Row};
use tokio::time::{sleep, timeout};

use crate::config::FEWEST_DATABASE_CONNECTIONS;

use super::liveness::{Liveness, PING_LIMIT, READ_ONLY};
use super::route::Route;

/// Time-out of a request or job waiting for a connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Idle time after which a connection is pinged before use. A connection just used is alive, and pinging each time
/// would double the round trips of every read.
const IDLE_LIMIT: Duration = Duration::from_millis(250);

/// Interval of pings on idle connections, so that firewalls keep them and dead ones are found before a request needs
/// them. Firewalls keep idle connections for a minute at least; most for five.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Connections for requests, and separate ones for work that must never wait behind a rush of requests.
#[derive(Clone, Debug)]
pub struct Pools {
    pub requests: PgPool,
    /// For Stripe's webhooks: each may be a payment.
    pub webhooks: PgPool,
    /// For `/readyz` and the Prometheus metrics.
    pub health: PgPool,
    /// For background jobs. The listener for new jobs and the validator of what is in memory have one more connection each.
    pub worker: PgPool,
    pub liveness: Arc<Liveness>,
    /// Server address without the pooler, for the listener.
    pub(super) direct: PgConnectOptions,
    /// Connection options of the pools.
    options: PgConnectOptions,
    route: Route,
}

/// Number of connections in each pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    requests: u32,
    webhooks: u32,
    health: u32,
    worker: u32,
}

impl Shares {
    /// Divides the process's connections. One each is for the listener and the validator.
    fn of(total: u32) -> Shares {
        let total = total.max(FEWEST_DATABASE_CONNECTIONS);
        let health = if total < 16 { 1 } else { 2 };
        let webhooks = total / 8;
        let worker = (total / 4).max(2);
        Shares {
            requests: total - health - webhooks - worker - 2,
            webhooks,
            health,
            worker,
        }
    }
}

impl Pools {
    /// Creates pools with this many connections in total; each connection is opened when needed. `direct` is for work
    /// that a pooler cannot serve.
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
            options: options.clone(),
            route,
        };
        for pool in pools.all() {
            tokio::spawn(keep_alive(pool.clone(), liveness.clone()));
        }
        pools
    }

    /// Opens another pool on the same database. It shares what the connections learn about the server.
    pub fn beside(&self, most: u32) -> PgPool {
        let pool = pool(&self.options, self.route, &self.liveness, most);
        tokio::spawn(keep_alive(pool.clone(), self.liveness.clone()));
        pool
    }

    /// Opens a connection to the server itself for the validation of what is in memory: one short statement, many times.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn connect_validator(&self) -> Result<PgConnection, sqlx::Error> {
        let mut conn = PgConnection::connect_with(&self.direct).await?;
        // The table of changes is small or large within minutes: no plan may depend on its size.
        let words = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off";
        sqlx::raw_sql(words).execute(&mut conn).await?;
        Ok(conn)
    }

    /// Number of request connections that searches may use at once.
    pub fn searches(&self) -> usize {
        let most = self.requests.options().get_max_connections() / 4;
        most.max(1) as usize
    }

    /// Opens every connection that this process may come to need, all at once: a pooler that lends fewer would keep
    /// requests waiting later, whatever its own settings are called.
    ///
    /// # Errors
    /// In words for the operator, when they cannot be had together.
    pub async fn try_all(&self) -> anyhow::Result<()> {
        let total: u32 = self
            .all()
            .iter()
            .map(|pool| pool.options().get_max_connections())
            .sum();
        let mut held = Vec::new();
        let refused = async {
            // The listener's comes first: where it goes through the same pooler, it takes one of its connections.
            let mut listener = PgConnection::connect_with(&self.direct).await?;
            listener.ping().await?;
            let mut validator = self.connect_validator().await?;
            validator.ping().await?;
            for pool in self.all() {
                for _ in 0..pool.options().get_max_connections() {
                    held.push(pool.acquire().await?);
                }
            }
            Ok::<_, sqlx::Error>(())
        }
        .await;
        refused.map_err(|error| {
            anyhow::anyhow!(
                "the database cannot be used:\n  DATABASE_MAX_CONNECTIONS is {}, and only {} connections could be had at \
                 once ({error}): let the server or the pooler before it allow more (PgBouncer: default_pool_size and \
                 max_db_connections, for all processes together), or lower DATABASE_MAX_CONNECTIONS",
                total + 2,
                held.len() + 2,
            )
        })
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

/// Creates a pool that never hands out a connection known or suspected to be dead.
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
        // No log line for each slow acquire, because a flood would add one per waiter. The metrics show the waiting
        // time.
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
                // Waits for work left behind, for example by a request that timed out. The wait is bounded, unlike the
                // pool's own, because a connection that died in the middle would keep its place in the pool.
                let left = timeout(PING_LIMIT, conn.flush()).await;
                Ok(matches!(left, Ok(Ok(()))) && liveness.is_usable(meta.age))
            })
        })
        .connect_lazy_with(route.options(options))
}

/// Pings the idle connections of a pool at intervals, until it is closed.
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
            let sum = shares.requests + shares.webhooks + shares.health + shares.worker + 2;
            assert_eq!(sum, total);
            assert!(shares.webhooks >= 1 && shares.health >= 1 && shares.worker >= 2);
            let most = shares.webhooks.max(shares.health).max(shares.worker);
            assert!(shares.requests >= most, "{shares:?}");
        }
    }
}
