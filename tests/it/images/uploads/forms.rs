//! Upload forms: permission, limits, malformed bodies, slow connections.

use std::time::Duration;

use image::ImageFormat;
use reqwest::Method;
use serde_json::json;
use spirit_beads::auth::Scope;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{kept, text};
use crate::support::images::{Part, encoded, form, jpeg};
use crate::support::{Shop, read_answer};

#[tokio::test]
async fn a_forbidden_upload_is_refused_before_anything_is_read() {
    let shop = Shop::open().await;
    let image = jpeg(9, 9);
    assert_eq!(shop.client.uploads(&[&image]).await.status, 401);
    for scope in Scope::ALL {
        let may = [Scope::Catalog, Scope::CustomOrders].contains(&scope);
        let answer = shop.admin(&[scope]).await.uploads(&[&image]).await;
        assert_eq!(
            answer.status,
            if may { 201 } else { 403 },
            "{scope:?}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn one_bad_file_and_nothing_is_kept() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let known = shop.keeps(&jpeg(70, 50)).await;
    shop.run_jobs().await;
    let good = jpeg(50, 70);
    let answer = admin.uploads(&[&good, b"<svg/>", &jpeg(70, 50), b""]).await;
    assert_eq!(answer.field_errors(), ["image[1]", "image[3]"]);
    assert!(
        answer.json["details"][0]["message"]
            .as_str()
            .is_some_and(|text| text.contains("JPEG, PNG"))
    );
    // What was there before stays.
    assert_eq!(kept(&shop).await, (1, 1));
    shop.run_jobs().await;
    assert_eq!(
        shop.client
            .get(&format!("/media/images/{known}/320.jpg"))
            .await
            .status,
        200
    );

    assert_eq!(admin.uploads(&[]).await.field_errors(), ["image"]);
    let many: Vec<&[u8]> = (0..11).map(|_| good.as_slice()).collect();
    let answer = admin.uploads(&many).await;
    assert_eq!(answer.field_errors(), ["image"]);
    assert!(answer.text.contains("Up to 10"), "{}", answer.text);
    assert_eq!(admin.uploads(&many[..10]).await.status, 201);
}

#[tokio::test]
async fn sizes_and_counts_are_the_settings_business() {
    let settings = [
        ("UPLOAD_MAX_FILE_BYTES", "20000"),
        ("UPLOAD_MAX_FILES", "2"),
        ("UPLOAD_MAX_MEGAPIXELS", "1"),
    ];
    let shop = Shop::open_with(&settings).await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let mut exact = jpeg(90, 60);
    exact.resize(20_000, 0);
    assert_eq!(admin.uploads(&[&exact]).await.status, 201);
    exact.push(0);
    let answer = admin.uploads(&[&jpeg(9, 9), &exact]).await;
    assert_eq!(answer.field_errors(), ["image[1]"]);
    assert!(answer.text.contains("larger than 0.0"), "{}", answer.text);
    assert_eq!(
        admin
            .uploads(&[&jpeg(9, 9), &jpeg(9, 9), &jpeg(9, 9)])
            .await
            .field_errors(),
        ["image"]
    );
    let grey = image::GrayImage::new(1001, 1000);
    let answer = admin
        .uploads(&[&encoded(&grey.into(), ImageFormat::Png)])
        .await;
    assert!(answer.text.contains("1 megapixels"), "{}", answer.text);
    // All files together, and a megabyte for the rest.
    let flood = vec![0; 1_100_000];
    let answer = admin.uploads(&[&flood]).await;
    assert_eq!(
        (answer.status, &answer.json["code"]),
        (413, &json!("payload_too_large"))
    );
    let answer = admin
        .send_form(
            "/api/admin/images/",
            &[Part::text("note", &"x".repeat(1_048_000))],
        )
        .await;
    assert_eq!(answer.field_errors(), ["image"]);
}

#[tokio::test]
async fn a_form_that_is_none_is_told_so() {
    let shop = Shop::open().await;
    let admin = shop.admin(&[Scope::Catalog]).await;
    let whole = form(&[Part::file("image", &jpeg(9, 9))]);
    let send = async |kind: &str, body: &[u8]| {
        let headers = [("content-type", kind)];
        let body = Some(body.to_vec());
        admin
            .send(Method::POST, "/api/admin/images/", &headers, body)
            .await
    };
    assert_eq!(send("application/json", b"{}").await.status, 415);
    assert_eq!(send("text/plain", &whole).await.status, 415);
    for (kind, body) in [
        ("multipart/form-data", whole.as_slice()),
        ("multipart/form-data; boundary=other", &whole),
        (
            "multipart/form-data; boundary=beads",
            &whole[..whole.len() / 2],
        ),
        ("multipart/form-data; boundary=beads", b""),
        ("multipart/form-data; boundary=beads", b"--beads\r\n\r\n"),
        (
            "multipart/form-data; boundary=beads",
            b"--beads\r\nno header\r\n\r\nx\r\n--beads--",
        ),
    ] {
        let answer = send(kind, body).await;
        assert_eq!(answer.status, 400, "{kind}: {}", answer.text);
        let detail = text(&answer.json["detail"]);
        assert!(
            detail.starts_with("Multipart form parse error - "),
            "{detail}"
        );
    }
    // Fields that nobody asked for, files among them, are no fault; nor is a file input that was left empty.
    let image = jpeg(9, 9);
    let odd = [
        Part::text("note", "ü"),
        Part::file("other", b"<html>"),
        Part {
            name: "image",
            file_name: Some(""),
            content: b"",
        },
        Part::file("image", &image),
    ];
    let answer = admin.send_form("/api/admin/images/", &odd).await;
    assert_eq!(
        answer.json.as_array().map(Vec::len),
        Some(1),
        "{}",
        answer.text
    );
    let latin = Part {
        name: "note",
        file_name: None,
        content: b"\xfc",
    };
    assert_eq!(
        admin
            .send_form("/api/admin/images/", &[latin])
            .await
            .field_errors(),
        ["note"]
    );
}

/// The beginning of an upload over a line of its own: all that comes before the file.
async fn begin_upload(shop: &Shop, size: usize) -> TcpStream {
    let token = {
        let mut conn = shop.db.acquire().await.expect("a connection");
        let new = spirit_beads::auth::TokenRequest {
            name: &format!("slow {}", uuid::Uuid::new_v4()),
            scopes: &[Scope::Catalog],
            expires_at: None,
        };
        spirit_beads::auth::create_token(&mut conn, &spirit_beads::audit::Actor::console(), &new)
            .await
            .expect("a token")
            .1
    };
    let host = shop.address.trim_start_matches("http://");
    let mut line = TcpStream::connect(host).await.expect("a connection");
    let head = format!(
        "POST /api/admin/images/ HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: multipart/form-data; boundary=beads\r\ncontent-length: {size}\r\n\r\n"
    );
    line.write_all(head.as_bytes()).await.expect("sent");
    line
}

#[tokio::test]
async fn a_slow_line_may_take_its_time_but_a_silent_one_may_not() {
    let shop = Shop::open_with(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let body = form(&[Part::file("image", &jpeg(90, 60))]);
    let mut silent = begin_upload(&shop, body.len()).await;
    silent.write_all(&body[..100]).await.expect("sent");
    let mut slow = begin_upload(&shop, body.len()).await;
    // Twice as long as a request may take, but never quiet for long.
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    for part in body.chunks(body.len() / 20 + 1) {
        clock.tick().await;
        slow.write_all(part).await.expect("sent");
    }
    let (status, _, text) = read_answer(&mut slow).await;
    assert_eq!(status, 201, "{text}");
    let (status, _, text) = read_answer(&mut silent).await;
    assert_eq!(status, 408, "{text}");
    assert!(text.contains("request_timeout"), "{text}");
    // Who hangs up leaves nothing behind.
    let mut gone = begin_upload(&shop, body.len()).await;
    gone.write_all(&body[..body.len() - 20])
        .await
        .expect("sent");
    drop(gone);
    assert_eq!(kept(&shop).await, (1, 1));
}
