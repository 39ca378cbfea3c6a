//! The whole shop in one file, and back: by the program, into a database and a folder that are empty.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use spirit_beads::auth::Scope;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::process::Command;

use super::{Beside, Program, until};
use crate::support::database::Database;
use crate::support::images::jpeg;
use crate::support::{Shop, card, session_of};

/// A database and a data folder without anything in them, and the program's settings for them.
struct Elsewhere {
    beside: Beside,
    database: Database,
}

impl Elsewhere {
    async fn new(shop: &Shop) -> Elsewhere {
        Elsewhere::on(shop, Database::empty().await)
    }

    fn on(shop: &Shop, database: Database) -> Elsewhere {
        let mut beside = Beside::new(shop);
        for (name, value) in &mut beside.settings {
            if *name == "DATABASE_URL" {
                *value = value.replace(shop.database(), database.name());
            }
        }
        Elsewhere { beside, database }
    }

    async fn restore(&self, file: &str) -> (i32, String, String) {
        self.beside.run(&["restore", file]).await
    }

    async fn start(&self) -> Program {
        let settings = self.beside.settings();
        self.beside.home.start_with(&settings, "Metrics ").await
    }

    /// Whether it is as it was made: no tables, no images.
    async fn is_untouched(&self) -> bool {
        let tables: i64 = sqlx::query_scalar(
            "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'",
        )
        .fetch_one(&self.database.connect())
        .await
        .expect("the tables");
        let media = self.beside.home.dir.join("data/media");
        tables == 0 && std::fs::read_dir(media).map_or(0, Iterator::count) == 0
    }
}

/// The program on a shop's own database and media folder.
fn beside(shop: &Shop) -> Beside {
    let mut beside = Beside::new(shop);
    let media = shop.media_folder().display().to_string();
    beside.settings.push(("MEDIA_URL", media));
    beside
}

/// Makes a backup, and returns its path.
async fn back_up(beside: &Beside, name: &str) -> String {
    let file = beside.home.dir.join(name).display().to_string();
    let (code, said, told) = beside.run(&["backup", &file]).await;
    assert_eq!(code, 0, "{said}{told}");
    assert!(said.contains("has the database and"), "{said}");
    file
}

/// The schema as PostgreSQL's own program writes it: tables, constraints, triggers, indexes, functions.
async fn schema(db: &PgPool) -> String {
    let options = db.connect_options();
    let output = Command::new("pg_dump")
        .args([
            "--schema-only",
            "--schema=public",
            "--schema=graphile_worker",
        ])
        .arg("--host")
        .arg(options.get_socket().expect("a socket"))
        .args(["--port", &options.get_port().to_string()])
        .args(["--username", options.get_username()])
        .arg(options.get_database().expect("a database"))
        .output()
        .await
        .expect("pg_dump");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    // Newer versions have a key in these, which is new each time.
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The number of rows of each table, and a hash of them all.
async fn rows(db: &PgPool) -> Vec<(String, i64, String)> {
    let names: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind = 'r' order by relname",
    )
    .fetch_all(db)
    .await
    .expect("the tables");
    let mut rows = Vec::new();
    for name in names {
        let kept = match name.as_str() {
            // Not in the file, or another by design.
            "_sqlx_migrations"
            | "backups"
            | "catalog_changes"
            | "catalog_horizon"
            | "form_submissions"
            | "rate_limit_counters"
            | "sessions"
            | "sign_in_attempts"
            | "worker_heartbeats" => continue,
            "audit_log" => "where action not like 'backup.%'",
            _ => "",
        };
        let row = match name.as_str() {
            "images" => "(id, storage_key, size_bytes, thumbhash)",
            _ => "t",
        };
        // The names are of our own tables.
        let sql = format!(
            "select count(*), coalesce(md5(string_agg({row}::text, '/' order by {row}::text)), '') from {name} t {kept}"
        );
        let (count, hash): (i64, String) = sqlx::query_as(AssertSqlSafe(sql))
            .fetch_one(db)
            .await
            .expect("its rows");
        rows.push((name, count, hash));
    }
    rows
}

/// The names of the tables whose rows differ.
fn differing(one: &[(String, i64, String)], other: &[(String, i64, String)]) -> Vec<String> {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().zip(other).filter(|(one, other)| one != other);
    pairs.map(|(one, _)| one.0.clone()).collect()
}

/// A shop with something of everything.
async fn busy() -> Shop {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    let made = admin
        .post("/api/categories/", &json!({"name": "Suns"}))
        .await;
    assert_eq!(made.status, 201);
    let image = shop.keeps(&jpeg(900, 600)).await;
    std::fs::create_dir_all(shop.media_folder().join("products")).expect("a folder");
    std::fs::write(
        shop.media_folder().join("products/old one.jpg"),
        jpeg(60, 40),
    )
    .expect("a file");
    let fields = json!({"category": "suns", "images": [image], "description": "Tabs\tand\\nlines\n\"quoted\" ☀"});
    let sunrise = shop.stocks_with("Sunrise", 9, fields).await;
    shop.stocks("Turtle", 1).await;
    shop.run_jobs().await;
    let session = session_of(&shop.shopper().check_out(&[(&sunrise, 2)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.shopper().check_out(&[(&sunrise, 1)]).await;
    let asked = shop.client.asks_with(&jpeg(300, 200)).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    shop.asks_for_a_piece("ann@example.com").await;
    shop
}

#[tokio::test]
async fn a_shop_comes_back_from_its_file_as_it_was() {
    let shop = busy().await;
    let admin = shop.admin(&Scope::ALL).await;
    let token = admin.token.clone().expect("a token");
    let beside = beside(&shop);
    let file = back_up(&beside, "shop.tar").await;
    let before = rows(&shop.db).await;
    let others = "graphile_worker._private_jobs where payload->>'job' <> 'render_image'";
    let jobs = count(&shop.db, others).await;
    assert!(jobs > 0, "an email waits");

    let elsewhere = Elsewhere::new(&shop).await;
    let (code, said, told) = elsewhere.restore(&file).await;
    assert_eq!(code, 0, "{said}{told}");
    assert!(
        said.contains("is restored:") && said.contains("and 2 images"),
        "{said}"
    );
    let db = elsewhere.database.connect();
    assert_eq!(differing(&before, &rows(&db).await), Vec::<String>::new());
    assert_eq!(schema(&db).await, schema(&shop.db).await);
    assert_eq!(elsewhere.beside.run(&["stock", "check"]).await.0, 0);
    assert_eq!(count(&db, others).await, jobs);

    // Triggers are on: the audit log takes no deletion, and the file has no sessions.
    let deleted = sqlx::query("delete from audit_log").execute(&db).await;
    assert!(deleted.is_err());
    let program = elsewhere.start().await;
    until("the renditions are made", async || {
        count(&db, "images where rendered_at is null").await == 0
    })
    .await;
    let client = program.client().with_token(&token);
    for path in [
        "/api/products/",
        "/api/admin/orders/",
        "/api/admin/custom-orders/",
    ] {
        let at = |text: &str| {
            text.replace(&program.address, "")
                .replace(shop.client.address(), "")
        };
        let (then, now) = (admin.get(path).await, client.get(path).await);
        assert_eq!(now.status, 200, "{path}");
        assert_eq!(at(&now.text), at(&then.text), "{path}");
    }
    let products = admin.get("/api/products/sunrise/").await.json;
    let image = products["images"][0]["url"].as_str().expect("an address");
    let path = &image[image.find("/media/").expect("a path")..];
    shop.run_jobs().await;
    for path in [path, "/media/products/old%20one.jpg"] {
        let (then, now) = (admin.get(path).await, client.get(path).await);
        assert_eq!((then.status, now.status), (200, 200), "{path}");
        assert!(then.bytes == now.bytes, "{path}");
    }

    // Numbers go on.
    let newest = |list: &Value| {
        list["results"][0]["number"]
            .as_str()
            .expect("a number")
            .to_owned()
    };
    let last = newest(&admin.get("/api/admin/orders/").await.json);
    let answer = client.check_out(&[("turtle", 1)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let next = newest(&client.get("/api/admin/orders/").await.json);
    let number = |text: &str| {
        text.trim_start_matches("SB-")
            .parse::<i64>()
            .expect("a number")
    };
    assert_eq!(number(&next), number(&last) + 1);
    let log = client.get("/api/admin/audit/?search=backup").await;
    assert!(log.text.contains("backup.restore"), "{}", log.text);
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}

async fn count(db: &PgPool, table: &str) -> i64 {
    let sql = format!("select count(*) from {table}");
    let count = sqlx::query_scalar(AssertSqlSafe(sql));
    count.fetch_one(db).await.expect(table)
}

#[tokio::test]
async fn a_file_that_is_not_whole_changes_nothing() {
    let shop = busy().await;
    let beside = beside(&shop);
    let file = back_up(&beside, "shop.tar").await;
    let (code, _, told) = beside.run(&["backup", &file]).await;
    assert_eq!(code, 1);
    assert!(told.contains("exists already"), "{told}");
    let whole = std::fs::read(&file).expect("the file");
    let elsewhere = Elsewhere::new(&shop).await;
    let write = |bytes: &[u8]| {
        let path = elsewhere.beside.home.dir.join("file.tar");
        std::fs::write(&path, bytes).expect("a file");
        path.display().to_string()
    };
    let refused = async |bytes: &[u8], why: &str| {
        let (code, said, told) = elsewhere.restore(&write(bytes)).await;
        assert_eq!((code, said.as_str()), (1, ""));
        assert!(
            told.contains(why) && told.trim().lines().count() == 1,
            "{why}: {told}"
        );
        assert!(elsewhere.is_untouched().await, "{why}");
    };
    let damaged = "is cut off or damaged";
    for size in [whole.len() - 1, whole.len() - 1024, whole.len() / 2, 20_000] {
        refused(&whole[..size], damaged).await;
    }
    // In the list of contents, a table, an image, the digest and the very end.
    for at in [
        600,
        whole.len() / 3,
        whole.len() - 5000,
        whole.len() - 1500,
        whole.len() - 3,
    ] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        refused(&flipped, damaged).await;
    }
    refused(&[&whole[..], b"\0"].concat(), damaged).await;
    refused(b"", "is no backup of Spirit Beads").await;
    refused(&jpeg(60, 40), "is no backup of Spirit Beads").await;
    let (code, _, told) = elsewhere.restore("nowhere.tar").await;
    assert_eq!(code, 1);
    assert!(told.contains("nowhere.tar"), "{told}");
    refused(
        &resealed(&whole, "\"version\":36,", "\"version\":99,"),
        "a newer version of the program made it (0.1.0, schema 99)",
    )
    .await;
    refused(
        &resealed(&whole, "\"format\":1,", "\"format\":2,"),
        "a newer version of the program made it",
    )
    .await;
}

/// The file with another word of the same length in its list of contents, and its digest made again.
fn resealed(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = file
        .windows(from.len())
        .position(|window| window == from.as_bytes());
    let at = at.expect("the word");
    let mut changed = file.to_vec();
    changed[at..at + from.len()].copy_from_slice(to.as_bytes());
    // The last entry: a header, a block with the digest, and two empty blocks.
    let content = changed.len() - 4 * 512;
    let digest: String = Sha256::digest(&changed[..content])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    changed[content + 512..][..64].copy_from_slice(digest.as_bytes());
    changed
}

#[tokio::test]
async fn a_shop_that_is_not_empty_takes_no_backup() {
    let shop = busy().await;
    let beside = beside(&shop);
    let file = back_up(&beside, "shop.tar").await;
    let before = rows(&shop.db).await;
    let (code, said, told) = beside.run(&["restore", &file]).await;
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(told.contains("this shop is not empty"), "{told}");
    assert_eq!(
        differing(&before, &rows(&shop.db).await),
        Vec::<String>::new()
    );

    // One whose tables are made, and no more, is empty.
    let made = Elsewhere::new(&shop).await;
    assert_eq!(made.beside.run(&["migrate"]).await.0, 0);
    let (code, said, told) = made.restore(&file).await;
    assert_eq!(code, 0, "{said}{told}");
    let now = rows(&made.database.connect()).await;
    assert_eq!(differing(&before, &now), Vec::<String>::new());
}

#[tokio::test]
async fn rows_that_do_not_fit_leave_nothing_behind() {
    let shop = busy().await;
    let own = beside(&shop);
    let file = back_up(&own, "shop.tar").await;
    let broken = Elsewhere::new(&shop).await;
    assert_eq!(broken.restore(&file).await.0, 0);
    sqlx::raw_sql(
        "alter table order_lines drop constraint order_lines_order_id_fkey;
         update order_lines set order_id = gen_random_uuid()",
    )
    .execute(&broken.database.connect())
    .await
    .expect("a broken database");
    let file = back_up(&broken.beside, "broken.tar").await;
    let elsewhere = Elsewhere::new(&shop).await;
    let (code, _, told) = elsewhere.restore(&file).await;
    assert_eq!(code, 1);
    assert!(told.contains("the rows do not fit together"), "{told}");
    let db = elsewhere.database.connect();
    for table in ["orders", "order_lines", "products", "images", "audit_log"] {
        assert_eq!(count(&db, table).await, 0, "{table}");
    }
    let media = elsewhere.beside.home.dir.join("data/media");
    assert_eq!(files_in(&media), 0);
}

/// The number of files in a folder and below.
fn files_in(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path() {
            path if path.is_dir() => files_in(&path),
            _ => 1,
        })
        .sum()
}

#[tokio::test]
async fn a_file_of_an_older_version_is_brought_up_to_date() {
    let shop = busy().await;
    let beside = beside(&shop);
    // As an older version would have written it: without what the migrations from this one on have made, and their records.
    let older = "drop table backups;
                 drop function catalog_products_changed, catalog_products_came_or_went,
                               catalog_images_of_products_changed, catalog_all_changed cascade;
                 drop function catalog_record_changes;
                 drop table catalog_changes, catalog_horizon;
                 delete from _sqlx_migrations where version >= 36";
    sqlx::raw_sql(older)
        .execute(&shop.db)
        .await
        .expect("an older schema");
    let file = write_old(&shop, &beside).await;
    assert_eq!(beside.run(&["migrate"]).await.0, 0);
    let before = rows(&shop.db).await;

    let elsewhere = Elsewhere::new(&shop).await;
    let (code, said, told) = elsewhere.restore(&file).await;
    assert_eq!(code, 0, "{said}{told}");
    let db = elsewhere.database.connect();
    assert_eq!(differing(&before, &rows(&db).await), Vec::<String>::new());
    assert_eq!(schema(&db).await, schema(&shop.db).await);

    // A database whose tables are newer takes it not, and is not changed.
    let newer = Elsewhere::new(&shop).await;
    assert_eq!(newer.beside.run(&["migrate"]).await.0, 0);
    let (code, _, told) = newer.restore(&file).await;
    assert_eq!(code, 1);
    assert!(told.contains("make a database without tables"), "{told}");
    assert_eq!(count(&newer.database.connect(), "products").await, 0);
}

/// A backup of a database whose schema is older than the program: taken in this process, which does not migrate.
async fn write_old(shop: &Shop, beside: &Beside) -> String {
    let actor = spirit_beads::audit::Actor::console();
    let mut backup = spirit_beads::system::backup::begin(&shop.app, &actor)
        .await
        .expect("a backup");
    let mut bytes = Vec::new();
    while let Some(chunk) = backup.next().await {
        bytes.extend(chunk);
    }
    let path = beside.home.dir.join("old.tar");
    std::fs::write(&path, bytes).expect("a file");
    path.display().to_string()
}

#[tokio::test]
async fn a_backup_while_the_shop_sells_is_of_one_moment() {
    let shop = Shop::open().await;
    let admin = shop.admin(&Scope::ALL).await;
    let pieces = ["Sunrise", "Turtle", "Moon"];
    for name in pieces {
        shop.stocks(name, 400).await;
    }
    shop.run_jobs().await;
    let selling = async |seed: usize| {
        for at in 0..12 {
            let piece = pieces[(seed + at) % 3].to_lowercase();
            let other = pieces[(seed + at + 1) % 3].to_lowercase();
            let lines = [(piece.as_str(), 1), (other.as_str(), 2)];
            let session = session_of(&shop.shopper().check_out(&lines).await);
            if at % 3 != 2 {
                shop.stripe.pay(&session, card()).await.expect("a payment");
                shop.deliver().await;
            }
        }
    };
    let mut files = Vec::new();
    let backing_up = async {
        for _ in 0..6 {
            let answer = admin.get("/api/admin/backup/").await;
            assert_eq!(answer.status, 200);
            files.push(answer.bytes);
        }
    };
    tokio::join!(selling(0), selling(1), selling(2), backing_up);
    let mut sold = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let elsewhere = Elsewhere::new(&shop).await;
        let path = elsewhere.beside.home.dir.join("shop.tar");
        std::fs::write(&path, file).expect("a file");
        let (code, said, told) = elsewhere.restore(&path.display().to_string()).await;
        assert_eq!(code, 0, "{at}: {said}{told}");
        let (code, said, _) = elsewhere.beside.run(&["stock", "check"]).await;
        assert_eq!(code, 0, "{at}: {said}");
        let db = elsewhere.database.connect();
        let odd: i64 = sqlx::query_scalar(
            "select count(*) from orders
             where (select count(*) from order_lines where order_id = orders.id) <> 2
                or (select sum(unit_price * quantity) from order_lines where order_id = orders.id) <> subtotal",
        )
        .fetch_one(&db)
        .await
        .expect("the orders");
        assert_eq!(odd, 0, "{at}: an order without its lines");
        sold.push(count(&db, "orders").await);
    }
    assert!(sold.is_sorted() && sold.first() < sold.last(), "{sold:?}");
}
