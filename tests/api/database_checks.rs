//! What the shop needs of its database is asked at the start, of every command that opens it, and told in words.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::process::Home;
use crate::support::{Database, STRIPE_KEY, WEBHOOK_SECRET, database};

/// The address of a database in the tests' cluster, for a role.
pub fn address(name: &str, role: &str) -> String {
    let options = database::options(name);
    let socket = options
        .get_socket()
        .expect("a socket")
        .display()
        .to_string();
    let socket = percent_encoding::utf8_percent_encode(&socket, percent_encoding::NON_ALPHANUMERIC);
    format!("postgres://{role}@localhost/{name}?host={socket}&sslmode=disable")
}

async fn run(name: &str, sql: &str) {
    let mut conn = PgConnection::connect_with(&database::options(name))
        .await
        .expect("the cluster");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut conn)
        .await
        .expect("done");
}

/// A role of its own, gone with the test.
struct Role(String);

impl Role {
    async fn create() -> Role {
        let name = format!("role_{}", Uuid::new_v4().simple());
        run("postgres", &format!("create role {name} login")).await;
        Role(name)
    }
}

/// Asserts that these commands refuse the database, each with all of these words.
async fn assert_refused(settings: &[(&str, &str)], words: &[&str]) {
    let home = Home::new();
    for command in [
        vec![],
        vec!["migrate"],
        vec!["worker"],
        vec!["token", "list"],
        vec!["stock", "check"],
    ] {
        let (code, _, told) = home.run(&command, settings).await;
        assert_eq!(code, 1, "{command:?}: {told}");
        for word in words {
            assert!(
                told.contains(word),
                "{command:?} does not say {word:?}: {told}"
            );
        }
    }
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_name_is_refused() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("test_{}", Uuid::new_v4().simple());
        run("postgres", &format!(
            "create database {name} encoding {encoding} template template0 lc_collate 'C' lc_ctype 'C'"
        ))
        .await;
        let url = address(&name, "spirit_beads");
        assert_refused(&[("DATABASE_URL", &url)], &[encoding, "UTF8", "createdb"]).await;
        run("postgres", &format!("drop database {name} with (force)")).await;
    }
}

#[tokio::test]
async fn a_database_that_takes_no_changes_is_refused() {
    let database = Database::empty().await;
    let name = database.name();
    run(
        "postgres",
        &format!("alter database {name} set default_transaction_read_only = on"),
    )
    .await;
    let url = address(name, "spirit_beads");
    assert_refused(&[("DATABASE_URL", &url)], &["takes no changes", "standby"]).await;
}

#[tokio::test]
async fn a_role_without_rights_is_refused_and_told_which_it_needs() {
    let database = Database::empty().await;
    let (name, role) = (database.name(), Role::create().await.0);
    let url = address(name, &role);
    let settings = [("DATABASE_URL", url.as_str())];
    let on_schema = format!("grant usage, create on schema public to {role}");
    let on_database = format!("grant create on database {name} to {role}");
    assert_refused(&settings, &[&on_schema, &on_database]).await;

    // As told, it works; with a connection too few it does not.
    run(name, &format!("{on_schema}; {on_database}")).await;
    let home = Home::new();
    let (code, _, told) = home.run(&["migrate"], &settings).await;
    assert_eq!(code, 0, "{told}");
    run(name, &format!("alter role {role} connection limit 12")).await;
    assert_refused(
        &settings,
        &["connection limit", "12", "DATABASE_MAX_CONNECTIONS"],
    )
    .await;
    let few = [settings[0], ("DATABASE_MAX_CONNECTIONS", "12")];
    let (code, _, told) = home.run(&["token", "list"], &few).await;
    assert_eq!(code, 0, "{told}");

    // One role migrates, another serves.
    let serving = Role::create().await.0;
    let serving_url = address(name, &serving);
    let settings = [
        ("DATABASE_URL", serving_url.as_str()),
        ("DATABASE_DIRECT_URL", url.as_str()),
        ("DATABASE_MAX_CONNECTIONS", "12"),
        // Without the sandbox, which would make a schema of its own.
        ("STRIPE_SECRET_KEY", STRIPE_KEY),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET),
    ];
    let on_tables =
        format!("grant select, insert, update, delete on all tables in schema public to {serving}");
    let on_queue = format!("grant usage on schema graphile_worker to {serving}");
    assert_refused(&settings, &[&on_tables, &on_queue, "order_lines"]).await;
    for schema in ["public", "graphile_worker"] {
        run(
            name,
            &format!(
                "grant usage on schema {schema} to {serving};
             grant select, insert, update, delete on all tables in schema {schema} to {serving};
             grant usage on all sequences in schema {schema} to {serving}"
            ),
        )
        .await;
    }
    let (code, _, told) = home.run(&["token", "list"], &settings).await;
    assert_eq!(code, 0, "{told}");
    run(name, &format!("revoke update on products from {serving}")).await;
    assert_refused(&settings, &["products (update)"]).await;
    // A role that does not own the tables cannot migrate them.
    run(
        name,
        "delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)",
    )
    .await;
    run(name, &format!("grant create on schema public to {serving}")).await;
    let settings = [("DATABASE_URL", serving_url.as_str())];
    assert_refused(&settings, &["does not own", "products"]).await;
    for role in [&role, &serving] {
        run(name, &format!("drop owned by {role} cascade")).await;
        run("postgres", &format!("drop role {role}")).await;
    }
}

#[tokio::test]
async fn two_addresses_of_two_databases_are_refused() {
    let (one, other) = (Database::create().await, Database::create().await);
    let (pooled, direct) = (
        address(one.name(), "spirit_beads"),
        address(other.name(), "spirit_beads"),
    );
    let settings = [
        ("DATABASE_URL", pooled.as_str()),
        ("DATABASE_DIRECT_URL", direct.as_str()),
    ];
    assert_refused(&settings, &["different databases"]).await;
}

#[tokio::test]
async fn an_address_that_is_none_is_named_without_its_password() {
    let url = address("postgres", "spirit_beads");
    for settings in [
        vec![("DATABASE_URL", "mysql://shop:hunter2@localhost/x")],
        vec![
            ("DATABASE_URL", url.as_str()),
            ("DATABASE_DIRECT_URL", "mysql://shop:hunter2@localhost/x"),
        ],
    ] {
        let name = settings.last().expect("one").0;
        let (code, _, told) = Home::new().run(&["migrate"], &settings).await;
        assert_eq!(code, 1, "{told}");
        assert!(
            told.contains(&format!("{name} is not a PostgreSQL address")),
            "{told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
    }
}
