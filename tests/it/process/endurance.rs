//! The program under load: its memory stays flat, and thousands of idle connections cost little.
//!
//! `LOAD_SECONDS=3600 cargo test --test it endurance -- --nocapture` loads it for an hour and prints its memory each minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;

use crate::process::{Home, Program};
use crate::support::images::jpeg;
use crate::support::{Answer, Client, form_of, heavy, session_of};

/// Memory that the program uses now, in bytes.
fn memory(program: &Program) -> u64 {
    let pid = program.child.id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes
        .expect("its size")
        .parse::<u64>()
        .expect("a number")
        * 1024
}

/// A shopper who looks around, searches, buys or goes back, and at times has a wish, again and again; between two of them
/// the owner looks after the shop. Returns how often they got no answer to use.
async fn shops(admin: Client, piece: String, until: Instant, count: Arc<AtomicU64>) -> u64 {
    let mut failed = 0;
    let mut tell = |answers: &[&Answer]| {
        count.fetch_add(answers.len() as u64, Relaxed);
        failed += answers.iter().filter(|answer| answer.status >= 500).count() as u64;
    };
    let image_url = jpeg(320, 240);
    let mut visit = 0_u32;
    // However slow the machine, everything has been done once.
    while Instant::now() < until || visit < 4 {
        visit += 1;
        let shopper = admin.with_cookies();
        for path in [
            "/api/products/",
            "/api/products/?search=star",
            "/api/products/demo-lantern-star/",
            "/api/categories/",
            "/admin/sign-in/",
            "/nowhere/",
        ] {
            tell(&[&shopper.get(path).await]);
        }
        let answer = shopper.check_out(&[(&piece, 1)]).await;
        tell(&[&answer]);
        if answer.status == 200 && !visit.is_multiple_of(4) {
            let url = url::Url::parse(answer.json["checkout_url"].as_str().expect("an address"));
            let page = shopper.get(url.expect("an address").path()).await;
            let (action, mut fields) = form_of(&page.text);
            fields.push(("how".to_owned(), "card".to_owned()));
            let paid = shopper.submit(&action, &fields).await;
            let order = format!("/api/orders/by-session/{}/", session_of(&answer));
            tell(&[&page, &paid, &shopper.get(&order).await]);
        }
        match visit % 30 {
            1 => tell(&[&shopper.asks_with(&image_url).await]),
            2 => tell(&[
                &admin.get("/api/admin/dashboard/").await,
                &admin.get("/api/admin/orders/").await,
            ]),
            3 => tell(&[&admin.uploads(&[&image_url]).await]),
            _ => {}
        }
    }
    failed
}

async fn load(admin: &Client, pieces: &[String], time: Duration) -> (u64, u64) {
    let count = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + time;
    let shoppers: Vec<_> = (0..8)
        .map(|number| {
            let piece = pieces[number % pieces.len()].clone();
            tokio::spawn(shops(admin.clone(), piece, until, count.clone()))
        })
        .collect();
    let mut failed = 0;
    for shopper in shoppers {
        failed += shopper.await.expect("a shopper");
    }
    (count.load(Relaxed), failed)
}

#[tokio::test]
async fn memory_stays_flat_under_load() {
    let _seat = heavy().await;
    let home = Home::new();
    // As in the image; or glibc keeps what images took.
    let settings = [
        ("MALLOC_MMAP_THRESHOLD_", "262144"),
        ("MALLOC_ARENA_MAX", "2"),
    ];
    let program = home.start_with(&settings, "Sandbox ").await;
    let mut making = vec!["token", "create", "--name", "k"];
    for scope in ["catalog", "stock", "orders:read"] {
        making.extend(["--scope", scope]);
    }
    let (code, token, said) = home.run(&making, &settings).await;
    assert_eq!(code, 0, "{said}");
    let admin = Client::to(&program.address).with_token(token.trim());
    // Some pieces of which there are many.
    let list = admin.get("/api/products/").await.json;
    let all = list["results"].as_array().expect("pieces").iter();
    let pieces: Vec<String> = all
        .filter(|piece| piece["inventory_count"] != 0)
        .filter_map(|piece| piece["id"].as_str().map(str::to_owned))
        .take(3)
        .collect();
    for piece in &pieces {
        let path = format!("/api/products/{piece}/stock/");
        let made = json!({"delta": 900_000, "reason": "made"});
        let made = admin.post(&path, &made).await;
        assert_eq!(made.status, 200, "{}", made.text);
    }
    let asked = std::env::var("LOAD_SECONDS").ok();
    let seconds: u64 = asked.map_or(4, |text| text.parse().expect("a number of seconds"));
    // Warm: all has been done once, over an hour also what the clock does each five minutes.
    load(&admin, &pieces, Duration::from_secs(seconds.div_ceil(6))).await;
    let before = memory(&program);
    println!("warm: {} MiB", before >> 20);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        let (count, failed) = load(&admin, &pieces, left.min(Duration::from_secs(60))).await;
        println!(
            "{count} requests, {failed} failed: {} MiB",
            memory(&program) >> 20
        );
        assert_eq!(failed, 0);
    }
    let grown = memory(&program).saturating_sub(before);
    assert!(grown < 24 << 20, "{} MiB more", grown >> 20);
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}

#[tokio::test]
async fn ten_thousand_idle_connections_cost_little() {
    let _seat = heavy().await;
    let home = Home::new();
    let program = home.start().await;
    let client = Client::to(&program.address);
    // Both ends of each, in two processes; other tests need some files, too.
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let wanted = 10_000.min(
        usize::try_from(files)
            .expect("a number")
            .saturating_sub(4_000),
    );
    assert_eq!(client.get("/api/products/").await.status, 200);
    let before = memory(&program);
    let host = program.address.trim_start_matches("http://");
    let mut lines = Vec::new();
    for _ in 0..wanted {
        lines.push(TcpStream::connect(host).await.expect("a connection"));
    }
    let began = Instant::now();
    assert_eq!(client.get("/api/products/").await.status, 200);
    let took = began.elapsed();
    let each = memory(&program).saturating_sub(before) / lines.len() as u64;
    println!("{wanted} idle connections: {each} bytes each; another is answered in {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(each < 32 * 1024, "{each} bytes each");
    drop(lines);
    program.terminate().await;
    assert_eq!(program.end().await, Some(0));
}
