//! Requirements of the database are checked at the start of every command that opens it, and told in words.

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::process::{Home, until};
use crate::support::{Client, Database, Mail, STRIPE_KEY, Shop, WEBHOOK_SECRET, database};

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
async fn a_time_zone_that_only_the_program_knows_is_not_chosen_and_refused_at_the_start() {
    let database = Database::create().await;
    let (name, pools) = (database.name().to_owned(), database.pools());
    // A server with an older list.
    let older = format!(
        "create view public.pg_timezone_names as
         select * from pg_catalog.pg_timezone_names where name <> 'America/Denver';
         alter database {name} set search_path = public, pg_catalog"
    );
    run(&name, &older).await;
    let shop = Shop::open_on(database, pools, &[]).await;
    let admin = shop.admin(&[Scope::Settings]).await;
    let choose = async |chosen: Value| {
        let body = json!({"chosen": chosen});
        admin
            .send_json(Method::PUT, "/api/admin/settings/", &body)
            .await
    };
    let refused = choose(json!({"time_zone": "America/Denver", "low_stock": -1})).await;
    assert_eq!(refused.field_errors(), ["low_stock", "time_zone"]);
    let taken = choose(json!({"time_zone": "America/Chicago"})).await;
    assert_eq!(taken.status, 200, "{}", taken.text);

    // One that was chosen on another server hinders no other setting, and no command runs on wrong days.
    run(&name, "update settings set time_zone = 'America/Denver'").await;
    let others = choose(json!({"time_zone": "America/Denver", "low_stock": 3})).await;
    assert_eq!(others.status, 200, "{}", others.text);
    let url = address(&name, "spirit_beads");
    let words = ["America/Denver", "SHOP_TIME_ZONE", "settings", "tzdata"];
    assert_refused(&[("DATABASE_URL", &url)], &words).await;
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

/// An address where no Stripe is.
const NOWHERE: &str = "http://127.0.0.1:1";

/// The statements that a refusal prints between backticks.
fn printed_statements(told: &str) -> Vec<String> {
    let parts = told.split('`').skip(1).step_by(2);
    parts
        .filter(|part| part.starts_with("grant ") || part.starts_with("alter "))
        .map(str::to_owned)
        .collect()
}

/// A database whose owner migrates it, and a role that serves with nothing but what refusals told to grant it.
struct TwoRoles {
    database: Database,
    owner: Role,
    serving: Role,
    home: Home,
}

impl TwoRoles {
    async fn create() -> TwoRoles {
        let two = TwoRoles {
            database: Database::empty().await,
            owner: Role::create().await,
            serving: Role::create().await,
            home: Home::new(),
        };
        let name = two.database.name();
        run(
            name,
            &format!(
                "alter database {name} owner to {0}; alter schema public owner to {0}",
                two.owner.0
            ),
        )
        .await;
        two
    }

    /// The settings, with or without Stripe's.
    fn settings(&self, has_stripe: bool) -> Vec<(&'static str, String)> {
        let name = self.database.name();
        let mut settings = vec![
            ("DATABASE_URL", address(name, &self.serving.0)),
            ("DATABASE_DIRECT_URL", address(name, &self.owner.0)),
        ];
        if has_stripe {
            settings.push(("STRIPE_SECRET_KEY", STRIPE_KEY.to_owned()));
            settings.push(("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()));
            settings.push(("STRIPE_API_URL", NOWHERE.to_owned()));
        }
        settings
    }

    /// Carries out what refusals print until there is none. Returns all of it.
    async fn grant_as_told(&self, has_stripe: bool) -> Vec<String> {
        let settings = self.settings(has_stripe);
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mut done = Vec::new();
        for _ in 0..4 {
            let (code, _, told) = self.home.run(&["token", "list"], &settings).await;
            if code == 0 {
                return done;
            }
            assert!(!told.contains("permission denied"), "{told}");
            let statements = printed_statements(&told);
            assert!(!statements.is_empty(), "{told}");
            for sql in statements {
                run(self.database.name(), &sql).await;
                done.push(sql);
            }
        }
        panic!("refused for ever: {done:#?}");
    }

    async fn drop(self) {
        for role in [&self.serving, &self.owner] {
            run(
                self.database.name(),
                &format!("drop owned by {} cascade", role.0),
            )
            .await;
        }
        let name = self.database.name().to_owned();
        run(
            "postgres",
            &format!("alter database {name} owner to current_user"),
        )
        .await;
        for role in [&self.serving, &self.owner] {
            run("postgres", &format!("drop role {}", role.0)).await;
        }
    }
}

#[tokio::test]
async fn a_role_with_the_rights_that_were_printed_serves_and_works() {
    let two = TwoRoles::create().await;
    let done = two.grant_as_told(true).await;
    assert!(
        done.iter().all(|sql| sql.starts_with("grant ")),
        "{done:#?}"
    );

    let settings = two.settings(true);
    let settings: Vec<(&str, &str)> = settings
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let program = two.home.start_with(&settings, "Admin ").await;
    let client = Client::to(&program.address);
    let body = json!({"name": "Ann", "email": "ann@example.com", "description": "A case in blue and gold, with a raven."});
    let answer = client.post("/api/custom-orders/", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let emails = two.home.dir.join("data/mail");
    until("the email is written", async || {
        !Mail::in_folder(&emails).is_empty()
    })
    .await;
    until("the worker is alive", async || {
        client.get("/readyz").await.json["worker"] == true
    })
    .await;
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));

    // Rows that somebody hides later are seen at the next start, in our schema as in the queue's.
    let name = two.database.name();
    for table in ["public.orders", "public.worker_heartbeats"] {
        run(
            name,
            &format!("alter table {table} enable row level security"),
        )
        .await;
        let (code, _, told) = two.home.run(&["token", "list"], &settings).await;
        assert_eq!(code, 1, "{told}");
        assert!(
            told.contains("row level security") && told.contains(table),
            "{told}"
        );
        // A policy that shows every row hides none.
        run(
            name,
            &format!("create policy every_row on {table} using (true)"),
        )
        .await;
        let (code, _, told) = two.home.run(&["token", "list"], &settings).await;
        assert_eq!(code, 0, "{told}");
    }
    two.drop().await;
}

#[tokio::test]
async fn with_the_sandbox_the_rights_that_it_needs_are_printed_as_well() {
    let two = TwoRoles::create().await;
    two.grant_as_told(true).await;
    let done = two.grant_as_told(false).await;
    let needed = format!(
        "grant create on database {} to {}",
        two.database.name(),
        two.serving.0
    );
    assert_eq!(done, [needed]);
    // One that another role made is used with grants.
    let name = two.database.name();
    run(
        name,
        &format!("alter schema stripe_sandbox owner to {}", two.owner.0),
    )
    .await;
    run(
        name,
        &format!(
            "do $$ declare r record; begin
             for r in select relname from pg_class
                      where relnamespace = 'stripe_sandbox'::regnamespace and relkind = 'r' loop
                 execute format('alter table stripe_sandbox.%I owner to {}', r.relname);
             end loop;
         end $$",
            two.owner.0
        ),
    )
    .await;
    let done = two.grant_as_told(false).await;
    assert!(
        done.iter()
            .any(|sql| sql.starts_with("grant usage on schema stripe_sandbox")),
        "{done:#?}"
    );
    two.drop().await;
}

#[tokio::test]
async fn a_worker_whose_lanes_fail_is_not_called_alive() {
    let database = Database::empty().await;
    let url = address(database.name(), "spirit_beads");
    let home = Home::new();
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("STRIPE_SECRET_KEY", STRIPE_KEY),
        ("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("STRIPE_API_URL", NOWHERE),
    ];
    let (code, _, told) = home.run(&["migrate"], &settings).await;
    assert_eq!(code, 0, "{told}");
    run(
        database.name(),
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
         create trigger refused before insert on graphile_worker._private_tasks
         for each statement execute function refuse()",
    )
    .await;
    let program = home.start_with(&settings, "Admin ").await;
    let client = Client::to(&program.address);
    let stumbles = || {
        let log = std::fs::read_to_string(home.log()).expect("a log");
        log.matches("the worker failed and restarts").count()
    };
    until("every lane has failed", async || stumbles() >= 12).await;
    let ready = client.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json["database"], &ready.json["worker"]),
        (503, &json!(true), &json!(false)),
        "{}",
        ready.text
    );
    run(database.name(), "drop function refuse() cascade").await;
    until("the worker is alive", async || {
        client.get("/readyz").await.status == 200
    })
    .await;
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
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
