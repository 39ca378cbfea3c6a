//! More is asked than can be answered: those let in are answered in good time, and nobody has to wait long to hear that
//! they should come back.
//!
//! `RUSH_SECONDS=20 SHOP_PROGRAM=$PWD/target/release/spirit-beads cargo test --test it rush -- --nocapture` measures it, beside
//! the same without a bound.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::process::Home;
use crate::support::{Client, heavy};

/// After so long a shopper goes elsewhere.
const PATIENCE: Duration = Duration::from_secs(3);

/// And in a test, on whatever machine.
const ENDLESS_PATIENCE: Duration = Duration::from_secs(120);

/// Outcome of a visit, and its duration.
enum Visit {
    Served(Duration),
    /// Told to come back.
    SentAway(Duration),
    GaveUp,
    /// The line was closed on them.
    CutOff,
}

/// Asks for the shop's list on a line of its own, as a new shopper does.
async fn visits(host: String, patience: Duration) -> Visit {
    let began = Instant::now();
    let asks = async {
        let mut line = TcpStream::connect(&host).await?;
        // Or either side would keep the port for a minute.
        line.set_zero_linger()?;
        let request =
            format!("GET /api/products/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        line.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        line.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = match tokio::time::timeout(patience, asks).await {
        Ok(Ok(answer)) if !answer.is_empty() => answer,
        Ok(_) => return Visit::CutOff,
        Err(_) => return Visit::GaveUp,
    };
    let head = String::from_utf8_lossy(&answer[..answer.len().min(4096)]).to_lowercase();
    if head.starts_with("http/1.1 200 ") {
        return Visit::Served(began.elapsed());
    }
    assert!(
        head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: 5\r\n"),
        "{head}"
    );
    Visit::SentAway(began.elapsed())
}

/// Number of visits served per second when each of these shoppers comes again as soon as they were.
async fn capacity(host: &str, shoppers: usize, time: Duration) -> f64 {
    let until = Instant::now() + time;
    let shoppers: Vec<_> = (0..shoppers)
        .map(|_| {
            let host = host.to_owned();
            tokio::spawn(async move {
                let mut served = 0;
                while Instant::now() < until {
                    if let Visit::Served(_) = visits(host.clone(), ENDLESS_PATIENCE).await {
                        served += 1;
                    }
                }
                served
            })
        })
        .collect();
    let mut served = 0;
    for shopper in shoppers {
        served += shopper.await.expect("a shopper");
    }
    f64::from(served) / time.as_secs_f64()
}

/// Numbers of visits that were served, told to come back, and neither.
struct Rush {
    served: usize,
    sent_away: usize,
    lost: usize,
}

/// So many come each second, whether those before them were served or not.
async fn rush(host: &str, each_second: f64, time: Duration, patience: Duration) -> Rush {
    let began = Instant::now();
    let mut visitors = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while began.elapsed() < time {
        let due = (began.elapsed().as_secs_f64() * each_second) as usize;
        while visitors.len() < due {
            visitors.push(tokio::spawn(visits(host.to_owned(), patience)));
        }
        pace.tick().await;
    }
    let (mut served, mut sent_away, mut gave_up, mut cut_off) = (Vec::new(), Vec::new(), 0, 0);
    for visitor in visitors {
        match visitor.await.expect("a visitor") {
            Visit::Served(time) => served.push(time),
            Visit::SentAway(time) => sent_away.push(time),
            Visit::GaveUp => gave_up += 1,
            Visit::CutOff => cut_off += 1,
        }
    }
    let times = |times: &mut Vec<Duration>| {
        times.sort();
        let at = |part: f64| {
            let place = (times.len() as f64 * part) as usize;
            times.get(place).copied().unwrap_or_default().as_millis()
        };
        format!(
            "{} (half in {} ms, 99 % in {} ms)",
            times.len(),
            at(0.5),
            at(0.99)
        )
    };
    println!(
        "{each_second:.0} come each second, {:.0} are served; in all {} served, {} sent away, {gave_up} gave up, {cut_off} were cut off",
        served.len() as f64 / time.as_secs_f64(),
        times(&mut served),
        times(&mut sent_away),
    );
    Rush {
        served: served.len(),
        sent_away: sent_away.len(),
        lost: gave_up + cut_off,
    }
}

#[tokio::test]
async fn in_a_rush_everybody_is_served_or_told_to_come_back() {
    let _seat = heavy().await;
    let asked = std::env::var("RUSH_SECONDS").ok();
    let seconds = asked
        .as_ref()
        .map_or(2, |text| text.parse().expect("seconds"));
    let time = Duration::from_secs(seconds);
    let is_measured = asked.is_some();
    let (bounds, patience): (&[&str], _) = if is_measured {
        (&["512", "100000"], PATIENCE)
    } else {
        (&["8"], ENDLESS_PATIENCE)
    };
    // Both ends of each line, in two processes; other tests need some files, too.
    rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    for bound in bounds {
        let home = Home::new();
        // Reads from memory take no place.
        let settings = [
            ("MAX_REQUESTS_IN_FLIGHT", *bound),
            ("CATALOG_MEMORY_MB", "0"),
        ];
        let program = home.start_with(&settings, "Sandbox ").await;
        let began = Instant::now();
        let host = program.address.trim_start_matches("http://").to_owned();
        let most = capacity(&host, 8, time).await;
        println!("up to {bound} at once; eight shoppers: {most:.0} a second");
        let (mut times, mut sent_away) = (1.0, 0);
        // On a machine that was busy when the capacity was measured, four times that may be no rush.
        while times <= 4.0 || (!is_measured && sent_away == 0) {
            assert!(times < 1000.0, "there is no rush");
            let rush = rush(&host, most * times, time, patience).await;
            assert!(rush.served > 0, "nobody was served");
            assert!(is_measured || rush.lost == 0, "{}", rush.lost);
            sent_away += rush.sent_away;
            times *= 2.0;
        }
        // The log tells of it once a second, not for each.
        let log = std::fs::read_to_string(home.log()).expect("a log");
        let told = log.matches("sent away: too much").count() as u64;
        assert_eq!(told > 0, sent_away > 0);
        assert!(told <= began.elapsed().as_secs() + 1, "told {told} times");
        // It is over, and all is as before.
        let client = Client::to(&program.address);
        assert_eq!(client.get("/api/products/").await.status, 200);
        assert_eq!(client.get("/readyz").await.status, 200);
        program.terminate().await;
        assert_eq!(program.end().await, Some(0));
    }
}
