//! Database failures, sorted by their consequence.

use sqlx::postgres::PgDatabaseError;

/// Consequence of a failed statement or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseFailure {
    /// A value that PostgreSQL cannot store.
    BadData,
    /// Temporary; the connection is still good.
    Busy,
    /// The server or the connection is gone, or the session has lost its state. The connection, and others as old, must
    /// not be used again.
    ConnectionLost,
    /// The server accepts no writes, because it was demoted or configured so. A session may keep that state after the
    /// outage.
    ReadOnly,
    /// A bug in this program.
    Bug,
}

impl DatabaseFailure {
    /// Sorts an error of sqlx.
    pub fn of(error: &sqlx::Error) -> DatabaseFailure {
        match error {
            sqlx::Error::Database(cause) => {
                let routine = cause
                    .try_downcast_ref::<PgDatabaseError>()
                    .and_then(PgDatabaseError::routine);
                DatabaseFailure::of_code(cause.code().as_deref().unwrap_or_default(), routine)
            }
            // Every connection is in use, or none could be made in time; this says nothing about the existing ones.
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => DatabaseFailure::Busy,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
            | sqlx::Error::Protocol(_) => DatabaseFailure::ConnectionLost,
            _ => DatabaseFailure::Bug,
        }
    }

    /// Sorts by SQLSTATE. `routine` is the PostgreSQL function that raised the error.
    ///
    /// Source: <https://www.postgresql.org/docs/15/errcodes-appendix.html>
    pub fn of_code(code: &str, routine: Option<&str>) -> DatabaseFailure {
        match (code, code.get(..2).unwrap_or_default()) {
            ("25006", _) => DatabaseFailure::ReadOnly,
            // The session was ended because a transaction was idle or took too long.
            ("25P03" | "25P04", _) => DatabaseFailure::ConnectionLost,
            // A statement was canceled, usually by its time-out; or a lock was not available in time.
            ("57014" | "55P03", _) => DatabaseFailure::Busy,
            // "Recovery is in progress", "database is not accepting connections".
            ("55000", _) => DatabaseFailure::ConnectionLost,
            // Rights taken away; tables, functions, types or their schema gone. A restore takes them away for a moment,
            // and a migration that went wrong until somebody acts: the request is right, and may be sent again.
            ("42501" | "42P01" | "42883" | "42704" | "3F000", _) => DatabaseFailure::Busy,
            // A value too large for an index.
            ("54000", _) => DatabaseFailure::BadData,
            // "cached plan must not change result type": a migration ran in between. A new session plans again.
            ("0A000", _) if routine == Some("RevalidateCachedQuery") => {
                DatabaseFailure::ConnectionLost
            }
            (_, "22") => DatabaseFailure::BadData,
            // Full disk, memory or connections; deadlocks and serialization failures; an old snapshot.
            (_, "53" | "40" | "72") => DatabaseFailure::Busy,
            // Connection failures; shutdown, crash, startup; system errors of the server; prepared statements lost by a
            // pooler or fail-over; a password or database that is missing or gone, on a new connection.
            (_, "08" | "57" | "58" | "26" | "28" | "3D") => DatabaseFailure::ConnectionLost,
            _ => DatabaseFailure::Bug,
        }
    }

    /// Returns true when other connections, as old as the failed one, must be replaced.
    pub fn taints_connections(self) -> bool {
        matches!(
            self,
            DatabaseFailure::ConnectionLost | DatabaseFailure::ReadOnly
        )
    }
}

#[cfg(test)]
mod tests {
    use super::DatabaseFailure::{self, BadData, Bug, Busy, ConnectionLost, ReadOnly};

    /// Every class of PostgreSQL 15, and the members that differ from their class.
    #[rustfmt::skip]
    const TABLE: [(&str, DatabaseFailure); 74] = [
        ("03000", Bug), ("08000", ConnectionLost), ("08001", ConnectionLost), ("08003", ConnectionLost),
        ("08004", ConnectionLost), ("08006", ConnectionLost), ("08007", ConnectionLost), ("08P01", ConnectionLost),
        ("09000", Bug), ("0A000", Bug), ("0B000", Bug), ("0F000", Bug), ("0L000", Bug), ("0P000", Bug), ("0Z000", Bug),
        ("20000", Bug), ("21000", Bug), ("22000", BadData), ("22001", BadData), ("22003", BadData), ("22008", BadData),
        ("22021", BadData), ("22P02", BadData), ("22P05", BadData), ("23502", Bug), ("23503", Bug), ("23505", Bug),
        ("23514", Bug), ("24000", Bug), ("25000", Bug), ("25001", Bug), ("25006", ReadOnly), ("25P01", Bug),
        ("25P02", Bug), ("25P03", ConnectionLost), ("25P04", ConnectionLost), ("26000", ConnectionLost), ("27000", Bug),
        ("28000", ConnectionLost), ("28P01", ConnectionLost), ("2B000", Bug), ("2D000", Bug), ("2F000", Bug),
        ("34000", Bug), ("38000", Bug), ("39000", Bug), ("3B000", Bug), ("3D000", ConnectionLost), ("3F000", Busy),
        ("40001", Busy), ("40003", Busy), ("40P01", Busy), ("42501", Busy), ("42601", Bug), ("42P01", Busy),
        ("44000", Bug), ("53000", Busy), ("53100", Busy), ("53200", Busy), ("53300", Busy), ("54000", BadData),
        ("54001", Bug), ("55000", ConnectionLost), ("55006", Bug), ("55P03", Busy), ("57000", ConnectionLost),
        ("57014", Busy), ("57P01", ConnectionLost), ("57P02", ConnectionLost), ("57P03", ConnectionLost),
        ("57P04", ConnectionLost), ("57P05", ConnectionLost), ("58030", ConnectionLost), ("72000", Busy),
    ];

    #[test]
    fn every_class_of_sqlstate_is_sorted() {
        for (code, failure) in TABLE {
            assert_eq!(DatabaseFailure::of_code(code, None), failure, "{code}");
        }
        for code in [
            "", "X", "é0000", "XX000", "XX001", "P0001", "HV000", "F0000",
        ] {
            assert_eq!(DatabaseFailure::of_code(code, None), Bug, "{code:?}");
        }
        let stale_plan = DatabaseFailure::of_code("0A000", Some("RevalidateCachedQuery"));
        assert_eq!(stale_plan, ConnectionLost);
    }
}
