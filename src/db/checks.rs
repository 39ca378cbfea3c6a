//! Requirements of the database, checked at startup, because a missing one would otherwise fail in a customer's
//! request.

use anyhow::{Result, bail, ensure};
use sqlx::PgConnection;

use super::route::setting;
use super::{MIGRATOR, liveness};

/// PostgreSQL 15.
const OLDEST_SERVER: i32 = 150_000;

/// Checks the server and the database before anything is written.
///
/// # Errors
/// All unmet requirements, in words.
pub(super) async fn server(conn: &mut PgConnection) -> Result<()> {
    let mut problems = Vec::new();
    let version: i32 = setting(conn, "server_version_num").await?.parse()?;
    if version < OLDEST_SERVER {
        let version = setting(conn, "server_version").await?;
        problems.push(format!(
            "this is PostgreSQL {version}: 15 or newer is needed"
        ));
    }
    let encoding = setting(conn, "server_encoding").await?;
    if encoding != "UTF8" {
        problems.push(format!(
            "its encoding (server_encoding) is {encoding}, which cannot store every customer's name: create a \
             new database with `createdb --encoding=UTF8 --template=template0 NAME`, and move the data with pg_dump and \
             pg_restore"
        ));
    }
    if liveness::read_only(conn).await? {
        problems.push(
            "it takes no changes: the server is a standby, or default_transaction_read_only is on"
                .to_owned(),
        );
    }
    refuse(problems)
}

/// Checks that the role has the rights for migrations.
///
/// # Errors
/// As [`server`].
pub(super) async fn owner(conn: &mut PgConnection) -> Result<()> {
    let (role, schema): (String, Option<String>) =
        sqlx::query_as("select current_user::text, current_schema()::text")
            .fetch_one(&mut *conn)
            .await?;
    let Some(schema) = schema else {
        bail!(
            "the role {role} finds no schema to put tables into: grant it usage and create on schema public, and let its \
             search_path name that"
        );
    };
    let mut problems = Vec::new();
    let may_create: bool = sqlx::query_scalar("select has_schema_privilege($1, 'create')")
        .bind(&schema)
        .fetch_one(&mut *conn)
        .await?;
    if !may_create {
        problems.push(format!(
            "the role {role} may not create tables: `grant usage, create on schema {schema} to {role}`"
        ));
    }
    // The queue has a schema of its own.
    let (is_complete, may_create, database): (bool, bool, String) = sqlx::query_as(
        "select exists (select from pg_namespace where nspname = 'graphile_worker')
                and array(select extname::text from pg_extension) @> $1,
                has_database_privilege(current_database(), 'create'),
                current_database()::text",
    )
    .bind(extensions())
    .fetch_one(&mut *conn)
    .await?;
    if !is_complete && !may_create {
        problems.push(format!(
            "the role {role} may not create schemas and extensions: `grant create on database {database} to {role}`"
        ));
    }
    if has_pending_migrations(conn).await? {
        let others: Vec<String> = sqlx::query_scalar(
            "select relname::text
             from pg_class
             where relnamespace = $1::regnamespace
               and relkind in ('r', 'p')
               and relowner = (select relowner from pg_class where oid = to_regclass('_sqlx_migrations'))
               and not pg_has_role(relowner, 'usage')
             order by relname",
        )
        .bind(&schema)
        .fetch_all(conn)
        .await?;
        if !others.is_empty() {
            problems.push(format!(
                "the role {role} does not own these tables, and migrations change them: {}",
                others.join(", ")
            ));
        }
    }
    refuse(problems)
}

/// Extensions created by migrations. The owner of a database may create each of them.
fn extensions() -> Vec<String> {
    let lines = MIGRATOR
        .iter()
        .flat_map(|migration| migration.sql.as_str().lines());
    let names = lines.filter_map(|line| line.strip_prefix("create extension if not exists "));
    names
        .filter_map(|name| name.split([';', ' ']).next())
        .map(str::to_owned)
        .collect()
}

/// Returns true when this program has migrations that the database lacks, or when that cannot be determined.
async fn has_pending_migrations(conn: &mut PgConnection) -> Result<bool> {
    let is_readable: bool = sqlx::query_scalar(
        "select coalesce(has_table_privilege(to_regclass('_sqlx_migrations'), 'select'), false)",
    )
    .fetch_one(&mut *conn)
    .await?;
    if !is_readable {
        return Ok(true);
    }
    let applied: Vec<i64> =
        sqlx::query_scalar("select version from _sqlx_migrations where success")
            .fetch_all(conn)
            .await?;
    Ok(MIGRATOR
        .iter()
        .any(|migration| !applied.contains(&migration.version)))
}

/// Checks that the serving role may read and change every table, once the schema is up to date.
///
/// # Errors
/// As [`server`].
pub(super) async fn server_role(conn: &mut PgConnection) -> Result<()> {
    let role: String = sqlx::query_scalar("select current_user::text")
        .fetch_one(&mut *conn)
        .await?;
    let is_found: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *conn)
        .await?;
    ensure!(
        is_found,
        "the role {role} does not see the shop's tables: grant it usage on their schema, and let its search_path name that"
    );
    // Tables of the same owner in the same schema, and the queue's. Another owner's table beside ours is not needed.
    let ours: Vec<i64> = sqlx::query_scalar(
        "select pg_class.oid::int8
         from pg_class
         join pg_namespace on pg_namespace.oid = relnamespace
         where nspname = 'graphile_worker'
            or (relnamespace, relowner) = (
                select relnamespace, relowner from pg_class where oid = to_regclass('_sqlx_migrations'))",
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut problems = missing_rights(conn, &role, &ours).await?;
    let may_queue: bool =
        sqlx::query_scalar("select has_schema_privilege('graphile_worker', 'usage')")
            .fetch_one(conn)
            .await?;
    if !may_queue {
        problems.push(format!(
            "the role {role} may not use the job queue: `grant usage on schema graphile_worker to {role}`"
        ));
    }
    refuse(problems)
}

/// The rights that a role lacks to read and change these relations, and the rows that are hidden from it, in words.
async fn missing_rights(
    conn: &mut PgConnection,
    role: &str,
    relations: &[i64],
) -> Result<Vec<String>> {
    let refused: Vec<(String, String)> = sqlx::query_as(
        "with ours as (
             select pg_class.oid, relkind, nspname, relname
             from pg_class
             join pg_namespace on pg_namespace.oid = relnamespace
             where pg_class.oid = any($1::int8[]::oid[])
         )
         select nspname::text, string_agg(format('%s (%s)', relname, missing), ', ' order by relname)
         from (
             select nspname, relname, string_agg(privilege, ', ') as missing
             from ours, unnest(case when relname = '_sqlx_migrations' then array['select']
                                    else array['select', 'insert', 'update', 'delete'] end) as privilege
             where case
                       when relkind in ('r', 'p') then not coalesce(has_table_privilege(oid, privilege), false)
                       else false
                   end
             group by nspname, relname
             union all
             select nspname, relname, 'usage'
             from ours
             where case relkind
                       when 'S' then not coalesce(has_sequence_privilege(oid, 'usage'), false)
                       else false
                   end
         ) as refused
         group by nspname
         order by nspname",
    )
    .bind(relations)
    .fetch_all(&mut *conn)
    .await?;
    let mut problems: Vec<String> = refused
        .into_iter()
        .map(|(schema, tables)| {
            format!(
                "the role {role} may not read and change {tables}: `grant select, insert, update, delete on all tables in \
                 schema {schema} to {role}`, and `grant usage on all sequences in schema {schema} to {role}`"
            )
        })
        .collect();
    // Grants do not help there: rows that no policy shows are hidden from every role but the owner. A policy that shows
    // all of them is as good as none.
    let hidden: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', nspname, relname)
         from pg_class
         join pg_namespace on pg_namespace.oid = relnamespace
         where pg_class.oid = any($1::int8[]::oid[])
           and relkind in ('r', 'p')
           and row_security_active(pg_class.oid)
           and not exists (
               select from pg_policy
               where polrelid = pg_class.oid
                 and polpermissive
                 and polcmd = '*'
                 and pg_get_expr(polqual, polrelid) = 'true'
                 and coalesce(pg_get_expr(polwithcheck, polrelid), 'true') = 'true'
                 and exists (select from unnest(polroles) as role where role = 0 or pg_has_role(role, 'usage')))
         order by 1",
    )
    .bind(relations)
    .fetch_all(conn)
    .await?;
    if let Some(first) = hidden.first() {
        problems.push(format!(
            "row level security hides rows of {} from the role {role}: switch it off for each of them, as their owner with \
             `alter table {first} disable row level security`, or as a superuser let the role pass with `alter role {role} \
             bypassrls`",
            hidden.join(", ")
        ));
    }
    Ok(problems)
}

/// Checks that the role may make the schema of the Stripe sandbox, or use the one that is there.
///
/// # Errors
/// As [`server`].
pub(super) async fn sandbox(conn: &mut PgConnection) -> Result<()> {
    let (role, database, may_create, is_made, may_use): (String, String, bool, bool, bool) = sqlx::query_as(
        "select current_user::text, current_database()::text,
                has_database_privilege(current_database(), 'create'),
                exists (select from pg_namespace where nspname = $1),
                coalesce((select has_schema_privilege(oid, 'usage') from pg_namespace where nspname = $1), false)",
    )
    .bind(SANDBOX_SCHEMA)
    .fetch_one(&mut *conn)
    .await?;
    let mut problems = Vec::new();
    if !is_made && !may_create {
        problems.push(format!(
            "without STRIPE_SECRET_KEY the shop runs the Stripe sandbox, and the role {role} may not create its schema: \
             `grant create on database {database} to {role}`"
        ));
    }
    if is_made {
        if !may_use {
            problems.push(format!(
                "the role {role} may not use the Stripe sandbox's schema: `grant usage on schema {SANDBOX_SCHEMA} to {role}`"
            ));
        }
        let relations: Vec<i64> = sqlx::query_scalar(
            "select oid::int8 from pg_class where relnamespace = (select oid from pg_namespace where nspname = $1)",
        )
        .bind(SANDBOX_SCHEMA)
        .fetch_all(&mut *conn)
        .await?;
        problems.extend(missing_rights(conn, &role, &relations).await?);
    }
    refuse(problems)
}

/// The schema in which the Stripe sandbox keeps its state.
const SANDBOX_SCHEMA: &str = "stripe_sandbox";

/// Checks that the server allows this many connections.
///
/// # Errors
/// As [`server`].
pub(super) async fn connections(conn: &mut PgConnection, total: u32) -> Result<()> {
    let (server, database, role): (i32, i32, i32) = sqlx::query_as(
        "select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
                (select datconnlimit from pg_database where datname = current_database()),
                (select rolconnlimit from pg_roles where rolname = current_user)",
    )
    .fetch_one(conn)
    .await?;
    let mut problems = Vec::new();
    for (limit, whose) in [
        (server, "the server (max_connections)"),
        (database, "the database (connection limit)"),
        (role, "the role (connection limit)"),
    ] {
        // -1 is no limit.
        if u32::try_from(limit).is_ok_and(|limit| limit < total) {
            problems.push(format!(
                "{whose} allows {limit} connections, and DATABASE_MAX_CONNECTIONS is {total}: raise the \
                 former or lower the latter"
            ));
        }
    }
    refuse(problems)
}

/// Checks that both addresses lead to the same database: a lock taken through one is visible through the other.
///
/// # Errors
/// When they lead to different databases.
pub(super) async fn same_database(
    direct: &mut PgConnection,
    pooled: &mut PgConnection,
) -> Result<()> {
    let key = i64::from_ne_bytes(uuid::Uuid::new_v4().as_u64_pair().0.to_ne_bytes());
    sqlx::query("select pg_advisory_lock($1)")
        .bind(key)
        .execute(&mut *direct)
        .await?;
    let is_free: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
        .bind(key)
        .fetch_one(pooled)
        .await?;
    ensure!(
        !is_free,
        "DATABASE_URL and DATABASE_DIRECT_URL lead to different databases"
    );
    Ok(())
}

/// Fails with all of these at once.
fn refuse(problems: Vec<String>) -> Result<()> {
    ensure!(
        problems.is_empty(),
        "the database cannot be used:\n  {}",
        problems.join("\n  ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extensions_of_the_migrations_are_known() {
        assert!(extensions().contains(&"pg_trgm".to_owned()));
    }
}
