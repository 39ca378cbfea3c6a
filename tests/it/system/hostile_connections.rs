//! Connections that mean no good: slow ones, endless ones, thousands of idle ones, and requests whose end two readers
//! could see in two places. The others are answered meanwhile.

use std::time::{Duration, Instant};

use spirit_beads::auth::Scope;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, Shop, heavy};

/// Time limit for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A shop in which nobody has patience.
async fn hasty() -> Shop {
    Shop::open_with(&[
        ("KEEP_ALIVE_SECONDS", "1"),
        ("REQUEST_TIMEOUT_SECONDS", "1"),
    ])
    .await
}

async fn line_to(shop: &Shop) -> TcpStream {
    let host = shop.address.trim_start_matches("http://");
    TcpStream::connect(host).await.expect("a connection")
}

/// All that comes until the shop ends the connection. A reset counts as an end: it has not read all that we sent.
async fn to_the_end(line: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = line.read_to_end(&mut answer);
    let _ = tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Answer of the shop to these bytes until it ends the connection.
async fn says(shop: &Shop, bytes: &[u8]) -> String {
    let mut line = line_to(shop).await;
    // It may end the connection before it has read everything.
    let _ = line.write_all(bytes).await;
    to_the_end(&mut line).await
}

/// The statuses of the answers in there.
fn statuses(answers: &str) -> Vec<u16> {
    answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| answer[..3].parse().expect("a status"))
        .collect()
}

/// Another is answered, on a line of its own: a kept one may be closed at the moment when it is used again.
async fn answers_others(shop: &Shop) {
    let other = Client::to(&shop.address);
    let asking = tokio::time::timeout(PATIENCE, other.get("/api/products/"));
    assert_eq!(asking.await.expect("in time").status, 200);
}

#[tokio::test]
async fn heads_that_trickle_in_are_given_up_and_others_are_answered() {
    let shop = hasty().await;
    let began = Instant::now();
    let mut lines = Vec::new();
    for number in 0..200 {
        let mut line = line_to(&shop).await;
        let head = "GET /api/products/ HTTP/1.1\r\nhost: a\r\nx-";
        line.write_all(&head.as_bytes()[..number % head.len()])
            .await
            .expect("sent");
        lines.push(line);
    }
    answers_others(&shop).await;
    let slow = lines.into_iter().map(|mut line| {
        tokio::spawn(async move {
            // A byte now and then does not put the end off.
            let mut answer = [0; 1];
            loop {
                let heard =
                    tokio::time::timeout(Duration::from_millis(200), line.read(&mut answer)).await;
                if heard.is_ok() || line.write_all(b"a").await.is_err() {
                    return;
                }
                assert!(began.elapsed() < PATIENCE, "still open");
            }
        })
    });
    for ended in futures_util::future::join_all(slow).await {
        ended.expect("given up");
    }
    answers_others(&shop).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let shop = hasty().await;
    let answer = says(&shop, b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(statuses(&answer), [200]);
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let shop = hasty().await;
    let long = "a".repeat(40_000);
    let many: String = (0..150).map(|n| format!("x-{n}: a\r\n")).collect();
    for (what, head) in [
        (
            "a long header",
            format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {long}\r\n\r\n"),
        ),
        (
            "many headers",
            format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
        ),
        (
            "a long path",
            format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"),
        ),
        (
            "a long cookie",
            format!("GET /admin/ HTTP/1.1\r\nhost: a\r\ncookie: {long}\r\n\r\n"),
        ),
        // Without an end, too: it is not waited for.
        (
            "an endless header",
            format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {long}{long}"),
        ),
    ] {
        assert_eq!(
            statuses(&says(&shop, head.as_bytes()).await),
            [431],
            "{what}"
        );
    }
    let fits = "a".repeat(20_000);
    let head = format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx-long: {fits}\r\n\r\n");
    assert_eq!(statuses(&says(&shop, head.as_bytes()).await), [200]);
    answers_others(&shop).await;
}

#[tokio::test]
async fn bodies_that_never_end_are_given_up() {
    let shop = hasty().await;
    let token = shop.admin(&[Scope::Catalog]).await.token.expect("a token");
    let auth = format!("authorization: Bearer {token}\r\n");
    let json = "content-type: application/json\r\n";
    let form = "content-type: multipart/form-data; boundary=b\r\n";
    for (path, headers, begun, expected) in [
        (
            "POST /api/payments/create-checkout-session/",
            json.to_owned(),
            "{\"items\"",
            408,
        ),
        // To Stripe every 4xx is the same.
        (
            "POST /api/payments/webhook/",
            json.to_owned(),
            "{\"id\"",
            400,
        ),
        (
            "POST /api/custom-orders/",
            json.to_owned(),
            "{\"name\"",
            408,
        ),
        ("POST /api/custom-orders/", form.to_owned(), "--b\r\n", 408),
        ("POST /api/products/", format!("{json}{auth}"), "{", 408),
        (
            "POST /api/admin/images/",
            format!("{form}{auth}"),
            "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\n\u{89}PNG",
            408,
        ),
        // Refused before it is read: no page of ours sent it.
        (
            "POST /admin/sign-in/",
            "content-type: application/x-www-form-urlencoded\r\n".to_owned(),
            "email=a",
            403,
        ),
        // Nobody reads these bodies, and nobody waits for them.
        ("GET /api/products/", json.to_owned(), "{", 200),
        ("POST /nowhere/", json.to_owned(), "{", 404),
        ("DELETE /api/products/", json.to_owned(), "{", 405),
    ] {
        for framing in ["content-length: 5000\r\n", "transfer-encoding: chunked\r\n"] {
            let chunked = framing.starts_with('t');
            let begun = if chunked {
                format!("{:x}\r\n{begun}\r\n", begun.len())
            } else {
                begun.to_owned()
            };
            let request = format!("{path} HTTP/1.1\r\nhost: a\r\n{headers}{framing}\r\n{begun}");
            let answer = says(&shop, request.as_bytes()).await;
            assert_eq!(statuses(&answer), [expected], "{path} {framing}: {answer}");
        }
    }
    answers_others(&shop).await;
}

#[tokio::test]
async fn slow_senders_take_no_place_from_others() {
    let shop = Shop::open_with(&[("MAX_REQUESTS_IN_FLIGHT", "2")]).await;
    let mut lines = Vec::new();
    for _ in 0..50 {
        let mut line = line_to(&shop).await;
        let head = "POST /api/payments/create-checkout-session/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
                    expect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n";
        line.write_all(head.as_bytes()).await.expect("sent");
        let mut go_on = [0; 25];
        line.read_exact(&mut go_on)
            .await
            .expect("it reads the body");
        lines.push(line);
    }
    answers_others(&shop).await;
    // They count again once there is something to do, and each is answered.
    for mut line in lines {
        line.write_all(b"{\"items\":[]}").await.expect("sent");
        assert_eq!(statuses(&to_the_end(&mut line).await), [400]);
    }
}

#[tokio::test]
async fn large_bodies_that_stall_on_their_way_to_disk_close_the_checkout_to_nobody() {
    let _seat = heavy().await;
    let shop = Shop::open().await;
    let piece = shop.stocks("Moon", 3).await;
    let part = vec![b'x'; 1_000_000];
    let mut lines = Vec::new();
    for _ in 0..3 {
        let mut line = line_to(&shop).await;
        let head = "POST /api/custom-orders/ HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                    content-length: 105000000\r\n\r\n{\"description\": \"";
        line.write_all(head.as_bytes()).await.expect("sent");
        for _ in 0..100 {
            line.write_all(&part).await.expect("sent");
        }
        lines.push(line);
    }
    // More than all bodies in memory may have, were they there.
    let bought = shop.shopper().check_out(&[(&piece, 1)]).await;
    assert_eq!(bought.status, 200, "{}", bought.text);
    drop(lines);
}

#[tokio::test]
async fn large_bodies_in_memory_leave_room_for_carts() {
    let _seat = heavy().await;
    let shop = Shop::open().await;
    let piece = shop.stocks("Moon", 3).await;
    let part = vec![b' '; 1_000_000];
    let mut lines = Vec::new();
    for _ in 0..300 {
        let mut line = line_to(&shop).await;
        let head = "POST /api/payments/create-checkout-session/ HTTP/1.1\r\nhost: a\r\n\
                    content-type: application/json\r\ncontent-length: 1048576\r\n\r\n";
        line.write_all(head.as_bytes()).await.expect("sent");
        // Those for whom there is no room any more are told so before they have sent everything.
        let _ = line.write_all(&part).await;
        lines.push(line);
    }
    let bought = shop.shopper().check_out(&[(&piece, 1)]).await;
    assert_eq!(bought.status, 200, "{}", bought.text);
    drop(lines);
}

/// A request that another follows, should somebody see its end too early.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn requests_that_end_in_two_places_are_refused() {
    let shop = hasty().await;
    let post = "POST /api/payments/create-checkout-session/ HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    let chunked = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let length = SMUGGLED.len();
    for (what, request) in [
        (
            "two lengths",
            format!("{post}content-length: 0\r\ncontent-length: {length}\r\n\r\n{SMUGGLED}"),
        ),
        (
            "two lengths in one",
            format!("{post}content-length: 0, {length}\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a length with a sign",
            format!("{post}content-length: +{length}\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a negative length",
            format!("{post}content-length: -1\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a length in hexadecimal",
            format!("{post}content-length: 0x10\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a huge length",
            format!("{post}content-length: 99999999999999999999\r\n\r\n{SMUGGLED}"),
        ),
        (
            "an empty length",
            format!("{post}content-length: \r\n\r\n{SMUGGLED}"),
        ),
        (
            "length and chunks",
            format!(
                "{post}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
        (
            "chunks and length",
            format!(
                "{post}transfer-encoding: chunked\r\ncontent-length: {}\r\n\r\n{chunked}",
                chunked.len()
            ),
        ),
        (
            "chunked, identity",
            format!("{post}transfer-encoding: chunked, identity\r\n\r\n{chunked}"),
        ),
        (
            "identity",
            format!("{post}transfer-encoding: identity\r\ncontent-length: 0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "xchunked",
            format!("{post}transfer-encoding: xchunked\r\n\r\n{chunked}"),
        ),
        (
            "chunked twice",
            format!(
                "{post}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n{chunked}"
            ),
        ),
        (
            "a space before the colon",
            format!("{post}transfer-encoding : chunked\r\n\r\n{chunked}"),
        ),
        (
            "a folded line",
            format!("{post}x: a\r\n b\r\ncontent-length: 0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a folded encoding",
            format!("{post}transfer-encoding:\r\n chunked\r\n\r\n{chunked}"),
        ),
        (
            "a bare CR",
            format!("{post}x: a\rcontent-length: {length}\r\n\r\n{SMUGGLED}"),
        ),
        ("a NUL", format!("{post}x: a\0b\r\n\r\n{SMUGGLED}")),
        (
            "chunks in HTTP/1.0",
            format!(
                "POST /nowhere/ HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"
            ),
        ),
        (
            "a chunk of a huge size",
            format!("{post}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{SMUGGLED}"),
        ),
        (
            "a chunk of no size",
            format!("{post}transfer-encoding: chunked\r\n\r\nzz\r\n{SMUGGLED}"),
        ),
        (
            "a chunk with a sign",
            format!("{post}transfer-encoding: chunked\r\n\r\n+0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a chunk that goes on",
            format!("{post}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "an extension with a bare LF",
            format!("{post}transfer-encoding: chunked\r\n\r\n0;a\nb\r\n\r\n{SMUGGLED}"),
        ),
        ("no version", format!("GET /healthz\r\n{SMUGGLED}")),
        (
            "a space in the path",
            format!("GET /a HTTP/1.1 HTTP/1.1\r\nhost: a\r\n\r\n{SMUGGLED}"),
        ),
    ] {
        let answers = says(&shop, request.as_bytes()).await;
        let told = statuses(&answers);
        assert_eq!(told.len(), 1, "{what}: {answers}");
        assert!((400..500).contains(&told[0]), "{what}: {answers}");
    }
    // What has one end is read to there, and what follows is the next request.
    for request in [
        format!("{post}content-length: 2\r\n\r\n{{}}{SMUGGLED}"),
        format!("{post}content-length: 2\r\ncontent-length: 2\r\n\r\n{{}}{SMUGGLED}"),
        format!(
            "{post}transfer-encoding: chunked\r\n\r\n2;a=b\r\n{{}}\r\n0\r\nx-trailer: a\r\n\r\n{SMUGGLED}"
        ),
    ] {
        let answers = says(&shop, request.as_bytes()).await;
        assert_eq!(statuses(&answers), [400, 200], "{answers}");
    }
    answers_others(&shop).await;
}

#[tokio::test]
async fn two_thousand_idle_connections_keep_nobody_out() {
    let shop = Shop::open().await;
    let mut lines = Vec::new();
    for _ in 0..2000 {
        lines.push(line_to(&shop).await);
    }
    answers_others(&shop).await;
    // One of them has something to say after all.
    let mut line = lines.swap_remove(1000);
    let request = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    line.write_all(request).await.expect("sent");
    assert_eq!(statuses(&to_the_end(&mut line).await), [200]);
}

#[tokio::test]
async fn beyond_its_places_the_shop_lets_nobody_in_until_one_leaves() {
    let shop = Shop::open_with(&[("MAX_CONNECTIONS", "10")]).await;
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(line_to(&shop).await);
    }
    let mut waiting = line_to(&shop).await;
    let request = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    waiting.write_all(request).await.expect("sent");
    // A crowd is let wait five seconds at the most: those that came while more than half was taken.
    assert_eq!(statuses(&to_the_end(&mut waiting).await), [200]);
    // The first five came while there was room, and may stay.
    let mut line = idle.swap_remove(0);
    line.write_all(request).await.expect("sent");
    assert_eq!(statuses(&to_the_end(&mut line).await), [200]);
}

#[tokio::test]
async fn an_answer_that_nobody_takes_holds_nobody_up() {
    let shop = Shop::open_with(&[("KEEP_ALIVE_SECONDS", "1")]).await;
    let mut lines = Vec::new();
    for _ in 0..20 {
        let mut line = line_to(&shop).await;
        // Many answers in a row, and none is read.
        let request = "GET /api/openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(50);
        line.write_all(request.as_bytes()).await.expect("sent");
        lines.push(line);
    }
    answers_others(&shop).await;
    // They are given up, though the other ends stay open.
    let began = Instant::now();
    while shop.app.metrics.connections() > 0 {
        assert!(began.elapsed() < PATIENCE, "they are kept");
        tokio::task::yield_now().await;
    }
    drop(lines);
}
