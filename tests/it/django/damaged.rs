//! Copies of the old shop in which something is damaged: any column of any row has a value that nobody expects, or a row is
//! gone. Each comes in whole, or ends in one clear sentence with nothing changed.
//!
//! `DAMAGE_SEED=7 DAMAGE_ROUNDS=500 cargo test --test it damaged -- --nocapture` tries more.

use sqlx::Connection;

use super::Takeover;
use crate::chaos::rng::Chance;
use crate::support::{heavy, seed_of_ci};

/// Copies tried by `cargo test`.
const ROUNDS: u64 = 10;

const TABLES: [&str; 6] = [
    "products_category",
    "products_product",
    "orders_order",
    "orders_orderitem",
    "custom_orders_customorderrequest",
    "auth_user",
];

/// Values as SQL, whatever the column is.
const VALUES: [&str; 58] = [
    "null",
    "''",
    "' '",
    "0",
    "1",
    "2",
    "-1",
    "1.5",
    "-0.001",
    "'7'",
    "' 7 '",
    "'7.00'",
    "'1e3'",
    "99999999",
    "100000000",
    "2147483647",
    "2147483648",
    "1099511627776",
    "9223372036854775807",
    "-9223372036854775808",
    "1e300",
    "-1e300",
    "'NaN'",
    "'Infinity'",
    "true",
    "'false'",
    "'No'",
    "'paid'",
    "'PENDING'",
    "'refunded'",
    "'completed'",
    "'shipped '",
    "'a@b.c'",
    "'A@B.C, d@e.f'",
    "printf('%0300d', 1)",
    "printf('%05000d', 1)",
    "'a' || char(0) || 'b'",
    "char(0)",
    "'It''s \"quoted\" \\ %_~'",
    "'<script>alert(1)</script>'",
    "char(8238) || 'İß' || char(128105) || char(8205) || char(128103)",
    "char(10) || char(13) || char(9) || char(27)",
    "x'00ff'",
    "'null'",
    "'[]'",
    "'{}'",
    "'\"text\"'",
    "'[null, 1, {\"url\": [2]}, [\"products/product-1.jpg\"]]'",
    "'{\"line1\": {\"a\": 1}, \"country\": 5, \"name\": [\"x\"]}'",
    "'{\"country\": \"\\u0000\", \"name\": \"\\u0000\"}'",
    "'0001-01-01 00:00:00'",
    "'9999-12-31 23:59:59.999999'",
    "'2026-02-30 12:00:00'",
    "'2026-03-01T12:00:00+14:00'",
    "'12026-03-01 12:00:00'",
    "'../../../etc/passwd'",
    "'c65ae89d-5417-40a3-b10b-b138611f4dc3'",
    "'C65AE89D541740A3B10BB138611F4DC3'",
];

/// Words that no shop owner understands: the database refused something that the import should have judged.
const NO_SENTENCES: [&str; 14] = [
    "panicked",
    "violates",
    "constraint",
    "invalid input",
    "out of range",
    "overflow",
    "cannot cast",
    "null value",
    "value too long",
    "unsupported Unicode",
    "invalid byte",
    "database error",
    "ColumnDecode",
    "what was written differs",
];

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// Statements that damage a copy.
fn damages(chance: &mut Chance, columns: &[(String, String)]) -> Vec<String> {
    let times = 1 + chance.below(3);
    let damage = |_| {
        let (table, column) = chance.pick(columns).clone();
        let rows = format!(
            "select rowid from {table} order by (rowid * {}) % 1009 limit {}",
            1 + chance.below(1000),
            [1, 1, 1, 2, 5, 1000][chance.below(6) as usize]
        );
        if chance.one_in(12) {
            return format!("delete from {table} where rowid in ({rows})");
        }
        let value = match chance.below(4) {
            // What another row has, or another column.
            0 => format!(
                "(select {column} from {table} order by rowid limit 1 offset {})",
                chance.below(6)
            ),
            1 => {
                let (other_table, other) = chance.pick(columns);
                format!("(select {other} from {other_table} order by rowid desc limit 1)")
            }
            _ => (*chance.pick(&VALUES)).to_owned(),
        };
        format!("update {table} set {column} = {value} where rowid in ({rows})")
    };
    (0..times).map(damage).collect()
}

impl Takeover {
    /// Puts a copy without constraints in place of the old shop.
    async fn copies_without_constraints(&self) {
        std::fs::copy(super::sample().join("shop.sqlite3"), &self.sqlite).expect("a copy");
        let copies = TABLES.map(|table| {
            format!("create table copy as select * from {table}; drop table {table}; alter table copy rename to {table};")
        });
        self.change(&copies.concat()).await;
    }

    /// The columns of the tables that are read.
    async fn columns(&self) -> Vec<(String, String)> {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&self.sqlite);
        let mut conn = sqlx::SqliteConnection::connect_with(&options)
            .await
            .expect("a file");
        let mut all = Vec::new();
        for table in TABLES {
            let columns: Vec<String> = sqlx::query_scalar("select name from pragma_table_info($1)")
                .bind(table)
                .fetch_all(&mut conn)
                .await
                .expect("columns");
            all.extend(columns.into_iter().map(|column| (table.to_owned(), column)));
        }
        all
    }
}

#[tokio::test]
async fn a_damaged_shop_comes_in_or_ends_in_a_sentence() {
    let _seat = heavy().await;
    let seed = number("DAMAGE_SEED")
        .or_else(seed_of_ci)
        .unwrap_or_else(|| u64::from(std::process::id()));
    let rounds = number("DAMAGE_ROUNDS").unwrap_or(ROUNDS);
    let takeover = Takeover::begin().await;
    let columns = takeover.columns().await;
    let mut faults = Vec::new();
    let (mut came_in, mut refused) = (0, 0);
    for round in 0..rounds {
        let mut chance = Chance::of(seed, &format!("round {round}"));
        takeover.copies_without_constraints().await;
        let damages = damages(&mut chance, &columns);
        takeover.change(&damages.join(";\n")).await;
        let before = takeover.everything().await;
        let (code, said, complaint) = takeover.run(&[]).await;
        let after = takeover.everything().await;
        let fault = match code {
            0 => {
                came_in += 1;
                let again = takeover.run(&[]).await;
                match again.0 == 0 && takeover.everything().await == after {
                    true => None,
                    false => Some(format!("a second import changes something: {}", again.2)),
                }
            }
            _ => {
                refused += 1;
                let is_sentence = complaint.trim_end().lines().count() == 1
                    && !NO_SENTENCES.iter().any(|word| complaint.contains(word));
                match (is_sentence, before == after) {
                    (true, true) => None,
                    _ => Some(format!("{complaint}{said}")),
                }
            }
        };
        if let Some(fault) = fault {
            eprintln!("DAMAGE_SEED={seed} round {round}: {damages:#?}\n{fault}");
            faults.push(round);
        }
    }
    println!("DAMAGE_SEED={seed}: {came_in} came in, {refused} were refused");
    assert!(faults.is_empty(), "DAMAGE_SEED={seed}, rounds {faults:?}");
}
