//! Asking for a piece, as the storefront's form does and as JSON: docs/compatibility.md A9 and B5.

use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use image::{ImageFormat, RgbImage};
use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use tokio::net::TcpListener;

use crate::support::images::{FORM, Part, form, jpeg, plain_png, webp};
use crate::support::{Answer, Shop};

const DESCRIPTION: &str = "A Mini case with a raven.\r\nBlue beads, please.";

/// A form whose texts are fine but for these, and the files in it.
async fn send(shop: &Shop, texts: &[(&str, &str)], files: &[&[u8]]) -> Answer {
    let mut parts = Vec::new();
    for (name, fine) in [
        ("name", "Ann"),
        ("email", "ann@example.com"),
        ("description", DESCRIPTION),
        ("colors", "blue, black"),
    ] {
        let changed = texts.iter().find(|(changed, _)| *changed == name);
        parts.push(Part::text(name, changed.map_or(fine, |(_, text)| text)));
    }
    parts.extend(files.iter().map(|content| Part::file("images", content)));
    let headers = [("content-type", FORM), ("origin", "http://localhost:8080")];
    let path = "/api/custom-orders/";
    shop.client
        .send(Method::POST, path, &headers, Some(form(&parts)))
        .await
}

/// A PNG of this many bytes: noise that does not compress, filled up behind its last chunk.
fn large_image(seed: u32, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let noise = RgbImage::from_fn(600, 400, |_, _| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        image::Rgb([state as u8, (state >> 8) as u8, (state >> 16) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    noise
        .write_to(&mut bytes, ImageFormat::Png)
        .expect("an image");
    let mut bytes = bytes.into_inner();
    assert!(bytes.len() < size, "{} bytes are too many", bytes.len());
    bytes.resize(size, 0);
    bytes
}

fn data_address(bytes: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("data:image/png;base64,{encoded}")
}

async fn view(shop: &Shop, answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{}", answer.text);
    let admin = shop.admin(&[Scope::CustomOrders]).await;
    let id = answer.json["request_id"].as_str().expect("an id");
    admin
        .get(&format!("/api/admin/custom-orders/{id}/"))
        .await
        .json
}

/// Remains of all requests: rows, images in the database, files in the store.
async fn left(shop: &Shop) -> (i64, i64, usize) {
    let count = |table: &str| {
        let sql = format!("select count(*) from {table}");
        async move {
            sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(sql))
                .fetch_one(&shop.db)
                .await
                .expect("a count")
        }
    };
    (
        count("custom_orders").await,
        count("images").await,
        files_below(&shop.media_folder()),
    )
}

fn files_below(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| match path.is_dir() {
            true => files_below(&path),
            false => 1,
        })
        .sum()
}

#[tokio::test]
async fn a_form_as_the_storefront_sends_it_is_taken() {
    let shop = Shop::open().await;
    let answer = send(&shop, &[], &[&plain_png(40, 30), &jpeg(40, 31)]).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.json["success"], true);
    assert_eq!(
        answer.json["message"],
        "Custom order request submitted successfully!"
    );
    shop.run_jobs().await;

    let request = view(&shop, &answer).await;
    assert_eq!(request["name"], "Ann");
    assert_eq!(request["email"], "ann@example.com");
    assert_eq!(
        request["description"],
        "A Mini case with a raven.\nBlue beads, please."
    );
    assert_eq!(request["colors"], "blue, black");
    assert_eq!(request["status"], "pending");
    let images = request["images"].as_array().expect("images");
    assert_eq!(images.len(), 2);
    for (kept, height) in images.iter().zip([30, 31]) {
        assert_eq!(
            (&kept["width"], &kept["height"]),
            (&json!(40), &json!(height))
        );
        let served = shop
            .client
            .get(kept["url"].as_str().expect("an address"))
            .await;
        assert_eq!(served.status, 200);
        assert_eq!(served.header("content-type"), "image/jpeg");
    }
    assert_eq!(shop.emails_of("new_custom_order").await, 1);
    assert_eq!(shop.emails_of("custom_order_received").await, 1);
}

#[tokio::test]
async fn json_is_taken_with_its_images_inside() {
    let shop = Shop::open().await;
    let body = json!({
        "name": "Ann", "email": "ann@example.com", "description": DESCRIPTION,
        "images": [
            data_address(&plain_png(40, 30)),
            {"name": "x", "preview": data_address(&webp(40, 31))},
        ],
        "other": {"images": [1]},
    });
    for kind in ["application/json", "text/plain", "application/octet-stream"] {
        let headers = [("content-type", kind)];
        let answer = shop
            .client
            .send(
                Method::POST,
                "/api/custom-orders",
                &headers,
                Some(body.to_string()),
            )
            .await;
        let request = view(&shop, &answer).await;
        assert_eq!(request["images"].as_array().map(Vec::len), Some(2));
        assert_eq!(request["colors"], Value::Null);
    }
    shop.run_jobs().await;
}

#[tokio::test]
async fn every_check_has_the_old_service_s_words() {
    let shop = Shop::open().await;
    let fine = plain_png(40, 30);
    let too_large = large_image(7, 7 * 1024 * 1024 + 1);
    let long = "x".repeat(1001);
    for (texts, sentence) in [
        (("name", ""), "Missing required field: name"),
        (("name", "  "), "Missing required field: name"),
        (("email", ""), "Missing required field: email"),
        (("description", " "), "Missing required field: description"),
        (("email", "@."), "Invalid email address"),
        (("email", "ann"), "Invalid email address"),
        (("email", "ann@example"), "Invalid email address"),
        (
            ("email", "ann@example.com\r\nbcc: eve@example.com"),
            "Invalid email address",
        ),
        (
            ("email", "ann@example.com, eve@example.com"),
            "Invalid email address",
        ),
        (
            ("description", "  too short "),
            "Description must be at least 10 characters",
        ),
        (
            ("description", &long),
            "Description must be at most 1000 characters",
        ),
        (
            ("name", &long[..101]),
            "Name must be at most 100 characters",
        ),
        (
            ("colors", &long[..201]),
            "Colors must be at most 200 characters",
        ),
        (
            ("name", "Ann\r\nBcc: eve@example.com"),
            "Name must be on one line",
        ),
        (("name", "Ann\0"), "Field name contains control characters"),
    ] {
        // The texts come first, whatever is wrong with the files.
        for files in [&[][..], &[b"no image".as_slice()]] {
            let answer = send(&shop, &[texts], files).await;
            assert_eq!(answer.status, 400, "{sentence}: {}", answer.text);
            assert_eq!(answer.json["error"], sentence);
            assert!(answer.json["code"].is_string(), "{}", answer.text);
        }
    }
    let html: &[u8] = b"<html><script>alert(1)</script></html>";
    let kinds = "is not a valid image type. Allowed: jpeg, png, webp, gif";
    for (files, sentence) in [
        (vec![html], format!("Image 1 {kinds}")),
        (vec![&fine, b"".as_slice()], format!("Image 2 {kinds}")),
        (vec![b"RIFF".as_slice(), html], format!("Image 1 {kinds}")),
        (
            vec![b"GIF89a".as_slice()],
            "Image 1: This image is damaged and cannot be read.".to_owned(),
        ),
        (
            vec![&fine, &too_large],
            "Image 2 exceeds 7MB limit".to_owned(),
        ),
        (
            vec![fine.as_slice(); 11],
            "Maximum 10 images allowed".to_owned(),
        ),
    ] {
        let answer = send(&shop, &[], &files).await;
        assert_eq!(answer.status, 400, "{sentence}: {}", answer.text);
        assert_eq!(answer.json["error"], sentence);
    }
    shop.run_jobs().await;
    assert_eq!(left(&shop).await, (0, 0, 0), "nothing of them remains");
}

#[tokio::test]
async fn odd_json_is_a_clear_no() {
    let shop = Shop::open().await;
    let fine = json!({"name": "Ann", "email": "ann@example.com", "description": DESCRIPTION});
    let with = |field: &str, value: Value| {
        let mut body = fine.clone();
        body[field] = value;
        body.to_string()
    };
    let gif = "Image 1 is not a valid image type. Allowed: jpeg, png, webp, gif";
    for (body, sentence) in [
        (String::new(), "Invalid JSON"),
        ("{".to_owned(), "Invalid JSON"),
        ("[]".to_owned(), "Invalid JSON"),
        ("7".to_owned(), "Invalid JSON"),
        ("null".to_owned(), "Invalid JSON"),
        (format!("{fine} x"), "Invalid JSON"),
        ("[".repeat(100_000), "Invalid JSON"),
        ("{}".to_owned(), "Missing required field: name"),
        (with("name", json!(7)), "Field name must be a text"),
        (
            with("email", json!(["a@b.c"])),
            "Field email must be a text",
        ),
        (
            with("name", json!("A\u{0}")),
            "Field name contains control characters",
        ),
        (with("images", json!("x")), "Field images must be a list"),
        (
            with("images", json!({"0": "x"})),
            "Field images must be a list",
        ),
        (with("images", json!([7])), gif),
        (with("images", json!([null])), gif),
        (with("images", json!([{}])), gif),
        (with("images", json!([[]])), gif),
        (
            with("images", json!(["/media/../../../../etc/passwd"])),
            gif,
        ),
        (with("images", json!(["file:///etc/passwd"])), gif),
        (with("images", json!(["data:image/png;base64,%%%"])), gif),
        (
            with("name", json!("x".repeat(200_000))),
            "Field name is too long",
        ),
        // As much as would fill the memory, were it kept.
        (
            format!("{{\"name\": [{}0]}}", "0,".repeat(2_000_000)),
            "Field name must be a text",
        ),
        (
            with("images", json!(["data:image/png;base64,R0lGODlh"])),
            "Image 1: This image is damaged and cannot be read.",
        ),
        (with("images", json!(["data:text/html,<b>"])), gif),
        (
            with("images", json!(vec!["x"; 11])),
            "Maximum 10 images allowed",
        ),
    ] {
        let headers = [("content-type", "application/json")];
        let short: String = body.chars().take(80).collect();
        let answer = shop
            .client
            .send(Method::POST, "/api/custom-orders/", &headers, Some(body))
            .await;
        assert_eq!(answer.status, 400, "{short}: {}", answer.text);
        assert_eq!(answer.json["error"], sentence, "{short}");
    }
    let urlencoded = [("content-type", "application/x-www-form-urlencoded")];
    let answer = shop
        .client
        .send(
            Method::POST,
            "/api/custom-orders/",
            &urlencoded,
            Some("name=Ann"),
        )
        .await;
    assert_eq!(answer.json["error"], "Invalid JSON");
    let unbounded = [("content-type", "multipart/form-data")];
    let answer = shop
        .client
        .send(Method::POST, "/api/custom-orders/", &unbounded, Some("x"))
        .await;
    assert_eq!(answer.status, 400);
    let detail = answer.json["detail"].as_str().expect("a sentence");
    assert!(
        detail.starts_with("Multipart form parse error - "),
        "{detail}"
    );
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = shop
            .client
            .send(method, "/api/custom-orders/", &[], None::<String>)
            .await;
        assert_eq!(answer.status, 405);
    }
    assert_eq!(left(&shop).await, (0, 0, 0));
}

#[tokio::test]
async fn remote_addresses_are_never_fetched() {
    let shop = Shop::open().await;
    let bait = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = bait.local_addr().expect("an address");
    for image in [
        json!(format!("http://{address}/cat.png")),
        json!({"preview": format!("http://{address}/cat.png")}),
        json!({"url": format!("http://{address}/cat.png")}),
    ] {
        let body = json!({
            "name": "Ann", "email": "ann@example.com", "description": DESCRIPTION, "images": [image],
        });
        assert_eq!(
            shop.client.post("/api/custom-orders/", &body).await.status,
            400
        );
    }
    shop.run_jobs().await;
    let nobody = futures_util::FutureExt::now_or_never(bait.accept());
    assert!(nobody.is_none(), "somebody came: {nobody:?}");
}

#[tokio::test]
async fn ten_images_of_seven_mebibytes_are_taken() {
    let shop = Shop::open().await;
    let images: Vec<Vec<u8>> = (0..10)
        .map(|n| large_image(n * 2 + 1, 7 * 1024 * 1024))
        .collect();
    let files: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    let answer = send(&shop, &[], &files).await;
    let request = view(&shop, &answer).await;
    assert_eq!(request["images"].as_array().map(Vec::len), Some(10));

    // The same images, with less behind them: reading JSON takes its time without an optimizer.
    let short = |bytes: &Vec<u8>| data_address(&bytes[..2 * 1024 * 1024]);
    let addresses: Vec<String> = images.iter().map(short).collect();
    let body = json!({
        "name": "Ann", "email": "ann@example.com", "description": DESCRIPTION, "images": addresses,
    });
    let answer = shop.client.post("/api/custom-orders/", &body).await;
    let again = view(&shop, &answer).await;
    assert_eq!(
        again["images"], request["images"],
        "the same images are kept once"
    );
}

#[tokio::test]
async fn nothing_remains_of_a_request_that_the_database_refuses() {
    let shop = Shop::open().await;
    sqlx::query("alter table custom_orders add constraint closed check (false)")
        .execute(&shop.db)
        .await
        .expect("a change");
    let answer = send(&shop, &[], &[&plain_png(40, 30)]).await;
    assert!(answer.status >= 500, "{}", answer.text);
    shop.run_jobs().await;
    assert_eq!(left(&shop).await, (0, 0, 0));
}

#[tokio::test]
async fn texts_are_counted_as_the_form_counts_them() {
    let shop = Shop::open().await;
    // 1000 characters in the form, of which 99 are line ends that arrive as two.
    let lines = vec!["123456789"; 100].join("\r\n") + "x";
    assert_eq!(lines.replace("\r\n", "\n").len(), 1000);
    let answer = send(&shop, &[("description", &lines)], &[]).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let answer = send(&shop, &[("description", &(lines + "x"))], &[]).await;
    assert_eq!(
        answer.json["error"],
        "Description must be at most 1000 characters"
    );
    // Two UTF-16 units each.
    let ravens = "🐦".repeat(50);
    let answer = send(&shop, &[("name", &ravens)], &[]).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let answer = send(&shop, &[("name", &(ravens + "x"))], &[]).await;
    assert_eq!(answer.json["error"], "Name must be at most 100 characters");
}
