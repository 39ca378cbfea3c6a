//! The program under load: its memory stays flat, and thousands of idle connections cost little.
//!
//! `LOAD_SECONDS=3600 cargo test --test api endurance -- --nocapture` loads it for an hour and prints its memory each minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::process::{Home, Program};
use crate::support::{Client, heavy, session_of};

/// What the program uses now, in bytes.
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

/// A shopper who looks around, searches, checks out and goes back, again and again; returns how often they got no answer
/// to use.
async fn shops(client: Client, until: Instant, count: Arc<AtomicU64>) -> u64 {
    let mut failed = 0;
    while Instant::now() < until {
        let shopper = client.with_cookies();
        for path in [
            "/api/products/",
            "/api/products/?search=star",
            "/api/products/demo-lantern-star/",
            "/api/categories/",
            "/admin/sign-in/",
            "/nowhere/",
        ] {
            failed += u64::from(shopper.get(path).await.status >= 500);
        }
        let answer = shopper.check_out(&[("demo-lantern-star", 1)]).await;
        // Somebody else may hold it.
        if answer.status == 200 {
            session_of(&answer);
        }
        failed += u64::from(answer.status >= 500);
        count.fetch_add(7, Relaxed);
    }
    failed
}

async fn load(program: &Program, time: Duration) -> (u64, u64) {
    let count = Arc::new(AtomicU64::new(0));
    let client = Client::to(&program.address);
    let until = Instant::now() + time;
    let shoppers: Vec<_> = (0..8)
        .map(|_| tokio::spawn(shops(client.clone(), until, count.clone())))
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
    let program = home.start().await;
    let asked = std::env::var("LOAD_SECONDS").ok();
    let seconds: u64 = asked.map_or(4, |text| text.parse().expect("a number of seconds"));
    // Warm: every shopper came once, the pool is full.
    load(&program, Duration::from_secs(seconds.div_ceil(4).min(60))).await;
    let before = memory(&program);
    println!("warm: {} MiB", before >> 20);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        let (count, failed) = load(&program, left.min(Duration::from_secs(60))).await;
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
