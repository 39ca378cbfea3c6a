//! Measures reads of a running shop, side by side with a static server that answers the same bytes. Prints a Markdown table.
//!
//! `read-bench PROGRAM [SECONDS]`: the shop's program, which is started on an empty folder with 500 products, and the
//! seconds of each run. Needs `wrk` and PostgreSQL's programs.

mod fixed;
mod load;
mod shop;

use std::error::Error;
use std::time::Duration;

use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use load::{Measured, Usage, wrk};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A read to measure.
struct Case {
    name: &'static str,
    path: String,
    header: Option<(&'static str, String)>,
    connections: u32,
    /// Changes of products per second meanwhile.
    changes: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, rest @ ..] = &arguments[..] else {
        return Err("usage: read-bench PROGRAM [SECONDS]".into());
    };
    let seconds = rest.first().map_or(Ok(5), |text| text.parse())?;
    let shop = shop::Shop::start(program).await?;
    let (address, pid) = (shop.address(), shop.pid());
    println!(
        "| read | connections | changes/s | req/s | static, same bytes | ratio | p50 / p99 ms | CPU per read, server + PostgreSQL | server MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for case in cases(address, &shop.ids).await? {
        let row = measure(&shop, pid, &case, seconds).await?;
        println!("{row}");
    }
    shop.stop().await
}

async fn cases(address: &str, ids: &[String]) -> Result<Vec<Case>> {
    let case = |name, path: &str, connections| Case {
        name,
        path: path.to_owned(),
        header: None,
        connections,
        changes: 0,
    };
    let list = "/api/products/";
    let first = ids.first().ok_or("the shop has no products")?;
    let detail = format!("/api/products/{first}/");
    let batch = format!(
        "/api/products/batch/?ids={}",
        ids[..ids.len().min(10)].join(",")
    );
    let tag = fixed::fetch(address, list, None).await?;
    let tag = tag.header("etag").ok_or("no entity tag")?;
    let mut cases = vec![
        case("list of 24", list, 1),
        case("list of 24", list, 32),
        case("list of 24", list, 128),
        Case {
            header: Some(("accept-encoding", "gzip".to_owned())),
            ..case("list, gzip", list, 32)
        },
        Case {
            header: Some(("if-none-match", tag)),
            ..case("list, 304", list, 32)
        },
        case("list, page 10", "/api/products/?page=10", 32),
        case("detail", &detail, 32),
        case("availability", &format!("{detail}check_availability/"), 32),
        case("batch of 10", &batch, 32),
        case("categories", "/api/categories/", 32),
        // A parameter that nobody knows goes past the memory.
        case("list, past the memory", "/api/products/?past=1", 32),
        case(
            "list, page 10, past the memory",
            "/api/products/?past=1&page=10",
            32,
        ),
    ];
    for (changes, connections) in [(100, 32), (100, 128), (1000, 32), (1000, 128)] {
        cases.push(Case {
            changes,
            ..case("list of 24", list, connections)
        });
    }
    cases.push(Case {
        changes: 1000,
        ..case("detail", &detail, 32)
    });
    Ok(cases)
}

async fn measure(shop: &shop::Shop, pid: u32, case: &Case, seconds: u32) -> Result<String> {
    let address = shop.address();
    let header = case
        .header
        .as_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let answer = fixed::fetch(address, &case.path, header).await?;
    let beside = fixed::serve(answer).await?;
    let load =
        async |address: &str| wrk(address, &case.path, header, case.connections, seconds).await;
    // Once to warm up, then in turns, because a machine drifts.
    wrk(address, &case.path, header, case.connections, 1).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut used = Usage::default();
    for _ in 0..2 {
        let writing = write(shop.db.clone(), shop.ids.clone(), case.changes);
        let before = Usage::now(pid)?;
        let run = load(address).await?;
        used = used + (Usage::now(pid)? - before);
        writing.abort();
        ours.push(run);
        theirs.push(load(&beside).await?);
    }
    let (ours, theirs) = (Measured::mean(&ours), Measured::mean(&theirs));
    let reads = ours.per_second * f64::from(seconds) * 2.0;
    let each = |seconds: f64| seconds * 1e6 / reads;
    Ok(format!(
        "| {} | {} | {} | {:.0} | {:.0} | {:.0} % | {:.2} / {:.2} | {:.1} + {:.1} us | {} |",
        case.name,
        case.connections,
        case.changes,
        ours.per_second,
        theirs.per_second,
        100.0 * ours.per_second / theirs.per_second,
        ours.p50,
        ours.p99,
        each(used.server),
        each(used.postgres),
        load::resident_megabytes(pid)?,
    ))
}

/// Changes prices at a rate, each in a transaction of its own.
fn write(db: PgPool, ids: Vec<String>, per_second: u32) -> JoinHandle<()> {
    tokio::spawn(async move {
        if per_second == 0 {
            return;
        }
        // Ten at a time: a timer is not exact to a millisecond.
        let period = Duration::from_secs(10) / per_second;
        let mut ticks = tokio::time::interval_at(Instant::now(), period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0_usize.. {
            ticks.tick().await;
            let changes = (0..10).map(|step| {
                let id = ids[(number * 10 + step) * 7 % ids.len()].clone();
                let db = db.clone();
                tokio::spawn(async move {
                    let sql = "update products set price = 4000 + (price + 1) % 1000 where id = $1";
                    let _ = sqlx::query(sql).bind(id).execute(&db).await;
                })
            });
            for change in changes.collect::<Vec<_>>() {
                let _ = change.await;
            }
        }
    })
}
