//! Forms with files, and the images in them.

use proptest::prelude::*;
use proptest::sample::select;
use reqwest::Method;

use super::shop::Stage;
use super::{Request, api_answer, shown, spliced, try_inputs};
use crate::support::images::{
    FORM, Part, animation, chunk, encoded, form, from_a_telephone, jpeg, plain_png,
    transparent_png, webp,
};
use crate::support::{Shop, heavy};

/// Routes that take forms with files.
const DOORS: [(&str, &str); 3] = [
    ("/api/custom-orders/", "images"),
    ("/api/admin/images/", "image"),
    ("/admin/products/sunrise/images", "image"),
];

#[test]
fn no_form_with_files_is_a_server_error() {
    try_inputs(
        300,
        async || {
            let stage = Stage::open().await;
            let token = stage.csrf().await;
            (stage, token)
        },
        |(stage, token)| forms(stage, token),
        async |(stage, _), request: Request| {
            if request.path.starts_with("/admin") {
                return shown(&request.send(&stage.owner).await?);
            }
            api_answer(&request.send(&stage.admin).await?)
        },
        async |(stage, _)| stage.settles().await,
    );
}

/// Forms whose parts have odd heads, and whose bytes are cut and mixed.
fn forms(stage: &Stage, token: &str) -> BoxedStrategy<Request> {
    let origin = stage.shop.address.clone();
    let token = token.to_owned();
    let part_name = select(vec![
        "name",
        "email",
        "description",
        "colors",
        "images",
        "image",
        "csrf",
        "once",
        "",
        "[]",
    ]);
    let head = prop_oneof![
        6 => (part_name.clone(), any::<bool>()).prop_map(|(name, file)| match file {
            true => format!("content-disposition: form-data; name=\"{name}\"; filename=\"a.png\"\r\ncontent-type: image/png"),
            false => format!("content-disposition: form-data; name=\"{name}\""),
        }),
        3 => (part_name.clone(), any::<String>()).prop_map(|(name, file)| {
            format!("content-disposition: form-data; name=\"{name}\"; filename=\"{file}\"; filename*=UTF-8''{file}")
        }),
        1 => select(vec![
            String::new(),
            "content-disposition: attachment".to_owned(),
            "content-disposition: form-data".to_owned(),
            "content-disposition: form-data; name".to_owned(),
            "content-disposition: form-data; name=\"image".to_owned(),
            "content-disposition: form-data; name=image; name=images".to_owned(),
            "content-disposition: form-data; filename=\"a\\\"b\"; name=\"image\"".to_owned(),
            "content-disposition: form-data; name=\"image\"\r\ncontent-transfer-encoding: base64".to_owned(),
            "content-disposition: form-data; name=\"images\"\r\ncontent-type: multipart/mixed; boundary=beads".to_owned(),
            "content-type: text/plain; charset=utf-16".to_owned(),
            format!("content-disposition: form-data; name=\"{}\"", "n".repeat(100_000)),
            format!("content-disposition: form-data; name=\"image\"; filename=\"{}\"", "f".repeat(100_000)),
            "x: y\r\n".repeat(500) + "content-disposition: form-data; name=\"image\"",
        ]),
    ];
    let content = prop_oneof![
        2 => select(vec![
            b"Ann".to_vec(), b"ann@example.org".to_vec(), b"A case in blue and gold, with a raven.".to_vec(),
            plain_png(8, 8), jpeg(8, 8), Vec::new(), b"--beads".to_vec(), b"\r\n--beads--\r\n".to_vec(), vec![0; 70_000],
        ]),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
    ];
    let odd = proptest::collection::vec((head, content), 0..6).prop_map(|parts| {
        let mut body = Vec::new();
        for (head, content) in parts {
            body.extend_from_slice(format!("--beads\r\n{head}\r\n\r\n").as_bytes());
            body.extend_from_slice(&content);
            body.extend_from_slice(b"\r\n");
        }
        [&body[..], b"--beads--\r\n"].concat()
    });
    let kind = prop_oneof![
        8 => Just(FORM.to_owned()),
        1 => select(vec![
            "multipart/form-data".to_owned(),
            "multipart/form-data; boundary=".to_owned(),
            "multipart/form-data; boundary=\"beads\"".to_owned(),
            "multipart/form-data; boundary=beads; boundary=x".to_owned(),
            "multipart/form-data; boundary=b\u{e9}ads".to_owned(),
            "multipart/form-data; boundary=-".to_owned(),
            "multipart/mixed; boundary=beads".to_owned(),
            "MULTIPART/FORM-DATA; BOUNDARY=beads".to_owned(),
            format!("multipart/form-data; boundary={}", "b".repeat(5000)),
        ]),
    ];
    (select(DOORS.to_vec()), odd, kind, any::<bool>())
        .prop_flat_map(move |((path, field), odd, kind, mostly_good)| {
            let (png, jpeg) = (plain_png(9, 9), jpeg(9, 9));
            let good = form(&[
                Part::text("csrf", &token),
                Part::text("name", "Ann"),
                Part::text("email", "ann@example.com"),
                Part::text("description", "A case in blue and gold."),
                Part::file(field, &png),
                Part::file(field, &jpeg),
            ]);
            let csrf = form(&[Part::text("csrf", &token)]);
            let csrf = csrf
                .strip_suffix(b"--beads--\r\n")
                .expect("its end")
                .to_vec();
            let body = match mostly_good {
                true => spliced(Just(good)),
                false => spliced(Just([csrf, odd].concat())),
            };
            let (origin, token) = (origin.clone(), token.clone());
            body.prop_map(move |body| {
                let request = Request::new(Method::POST, path).body(&kind, body);
                // The token comes in the header as well, or most would not come past it.
                match path.starts_with("/admin") {
                    true => request.with("origin", &origin).with("x-csrf-token", &token),
                    false => request,
                }
            })
        })
        .boxed()
}

#[test]
fn no_bytes_as_an_image_are_a_server_error() {
    try_inputs(
        150,
        async || {
            let seat = heavy().await;
            let shop = Shop::open().await;
            let admin = shop.admin(&[spirit_beads::auth::Scope::Catalog]).await;
            (shop, admin, seat)
        },
        |_| {
            let tiny = image::DynamicImage::new(8, 8, image::ColorType::Rgba16);
            let samples = vec![
                jpeg(24, 16),
                from_a_telephone(&jpeg(16, 16), 6),
                plain_png(12, 12),
                transparent_png(10),
                encoded(&tiny, image::ImageFormat::Png),
                webp(16, 16),
                animation(16, 16),
            ];
            // A PNG whose sums are wrong is not looked into.
            let image =
                (spliced(select(samples)), any::<bool>()).prop_map(|(bytes, mend)| match mend {
                    true => with_right_sums(&bytes).unwrap_or(bytes),
                    false => bytes,
                });
            proptest::collection::vec(image, 1..8).boxed()
        },
        async |(_, admin, _), files: Vec<Vec<u8>>| {
            let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
            let answer = admin.uploads(&files).await;
            prop_assert!([201, 400].contains(&answer.status), "{answer:?}");
            api_answer(&answer)
        },
        async |(shop, ..)| {
            // What was taken is drawn in all sizes.
            shop.run_jobs().await;
            shop.audit().await;
        },
    );
}

/// A PNG with the sum of each of its chunks counted anew. None where its chunks have no end.
fn with_right_sums(png: &[u8]) -> Option<Vec<u8>> {
    let mut whole = png.get(..8)?.to_vec();
    let mut rest = &png[8..];
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let kind: &[u8; 4] = rest.get(4..8)?.try_into().ok()?;
        let end = length.checked_add(12)?;
        whole.extend(chunk(kind, rest.get(8..length + 8)?));
        rest = rest.get(end..)?;
    }
    Some(whole)
}
