//! Shared knowledge about the server, collected by the connections of all pools.
//!
//! One dead connection implies others: whatever killed it (a crash, a fail-over, a firewall that dropped idle
//! connections) killed all that were open at the time. So no request waits for each of them in turn. All connections
//! older than that moment are closed at their next use, which costs no round trip.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row};
use tokio::time::timeout;

use crate::error::DatabaseFailure;

/// Time-out of the smallest possible query.
pub(super) const PING_LIMIT: Duration = Duration::from_secs(1);

/// Query that returns true when the server accepts no writes from this session.
pub(super) const READ_ONLY: &str =
    "select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean";

/// Shared knowledge about one server.
#[derive(Debug)]
pub struct Liveness {
    began: Instant,
    /// In microseconds since `began`: connections made earlier are not used again.
    stale_before: AtomicU64,
    read_only: AtomicBool,
}

impl Default for Liveness {
    fn default() -> Liveness {
        Liveness {
            began: Instant::now(),
            stale_before: AtomicU64::new(0),
            read_only: AtomicBool::new(false),
        }
    }
}

impl Liveness {
    /// Discards every connection older than this moment.
    pub fn suspect(&self, moment: Instant) {
        self.stale_before.fetch_max(self.micros(moment), Relaxed);
    }

    /// Draws conclusions from a failed request or job.
    pub fn note(&self, failure: DatabaseFailure) {
        self.note_at(failure, Instant::now());
    }

    fn note_at(&self, failure: DatabaseFailure, moment: Instant) {
        if failure == DatabaseFailure::ReadOnly {
            self.read_only.store(true, Relaxed);
        }
        if failure.taints_connections() {
            self.suspect(moment);
        }
    }

    /// Returns true when the server accepted no writes at the last check.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Relaxed)
    }

    /// Returns true when a connection of this age may still be used.
    pub(super) fn is_usable(&self, age: Duration) -> bool {
        let made = Instant::now().checked_sub(age);
        self.is_usable_since(made.unwrap_or(self.began))
    }

    fn is_usable_since(&self, made: Instant) -> bool {
        // While the server is read-only, each connection serves only once, because a session begun at that time may
        // stay read-only forever.
        !self.is_read_only() && self.micros(made) >= self.stale_before.load(Relaxed)
    }

    /// Records the state of a new session. The first writable one ends a read-only period, and older connections are
    /// discarded.
    pub(super) fn met(&self, read_only: bool, moment: Instant) {
        if self.read_only.swap(read_only, Relaxed) && !read_only {
            self.suspect(moment);
        }
    }

    /// Pings an idle connection and checks whether the server accepts writes. Returns false when the connection must be
    /// closed.
    pub(super) async fn ask(&self, conn: &mut PgConnection) -> bool {
        let began = Instant::now();
        match timeout(PING_LIMIT, read_only(conn)).await {
            Ok(Ok(read_only)) => {
                if read_only {
                    self.note(DatabaseFailure::ReadOnly);
                }
                !read_only
            }
            _ => {
                self.suspect(began);
                false
            }
        }
    }

    fn micros(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.began);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Returns true when the server accepts no writes from this session.
pub(super) async fn read_only(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::raw_sql(READ_ONLY).fetch_one(conn).await?.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(liveness: &Liveness, second: u64) -> Instant {
        liveness.began + Duration::from_secs(second)
    }

    #[test]
    fn a_dead_connection_takes_older_ones_along_and_no_newer_one() {
        let liveness = Liveness::default();
        assert!(liveness.is_usable_since(at(&liveness, 0)));
        liveness.note_at(DatabaseFailure::ConnectionLost, at(&liveness, 2));
        liveness.note_at(DatabaseFailure::ConnectionLost, at(&liveness, 1));
        for failure in [
            DatabaseFailure::Busy,
            DatabaseFailure::BadData,
            DatabaseFailure::Bug,
        ] {
            liveness.note_at(failure, at(&liveness, 9));
        }
        for (second, usable) in [(0, false), (1, false), (2, true), (3, true)] {
            let made = at(&liveness, second);
            assert_eq!(liveness.is_usable_since(made), usable, "{second}");
        }
    }

    #[test]
    fn no_session_outlives_a_read_only_spell() {
        let liveness = Liveness::default();
        let usable = |second| liveness.is_usable_since(at(&liveness, second));
        liveness.met(false, at(&liveness, 1));
        assert!(usable(0), "no spell, no suspicion");
        liveness.met(true, at(&liveness, 2));
        assert!(!usable(3));
        liveness.note_at(DatabaseFailure::ReadOnly, at(&liveness, 4));
        liveness.met(false, at(&liveness, 6));
        assert!(!usable(5) && usable(6) && usable(7));
    }
}
