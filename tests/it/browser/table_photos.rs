//! Photographs of a table on a phone: eleven drafts in a few taps, and corrections by touch and by keyboard.

use std::path::PathBuf;

use image::{DynamicImage, ImageFormat};
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;

use super::{Driver, PHONE, Window};
use crate::admin::{STAFF, staffed};
use crate::catalog::intakes::{list, photograph, program, text};
use crate::support::Shop;
use crate::support::images::encoded;

/// Most taps from the first page to the drafts.
const MOST_TAPS: usize = 12;

/// Photographs as files that a person chooses.
struct Files {
    folder: TempDir,
}

impl Files {
    fn write(files: &[(&str, &[u8])]) -> Files {
        let folder = TempDir::new().expect("a folder");
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).expect("a file");
        }
        Files { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The table seen in a mirror: what its pieces would look like from behind, near enough to be paired.
fn mirrored(photo: &[u8]) -> Vec<u8> {
    let image = image::load_from_memory(photo).expect("a photograph");
    encoded(
        &DynamicImage::from(image.fliph().into_rgb8()),
        ImageFormat::Jpeg,
    )
}

/// A shop whose products tell the prices of both sizes.
async fn priced() -> Shop {
    let shop = staffed().await;
    shop.stocks_with("One", 1, json!({"price": 4700})).await;
    shop.stocks_with("Two", 1, json!({"price": 3900, "lighter_type": 2}))
        .await;
    shop.run_jobs().await;
    shop
}

#[tokio::test]
async fn two_photographs_become_eleven_drafts_in_a_few_taps() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = priced().await;
    let table = photograph("lighters.jpg");
    let files = Files::write(&[("fronts.jpg", &table), ("backs.jpg", &mirrored(&table))]);
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    let mut taps = 0;
    for name in ["Menu", "Table photos", "New batch"] {
        ben.clicks(name).await;
        taps += 1;
    }
    ben.sees("Find the pieces").await;
    for (label, file) in [("Fronts", "fronts.jpg"), ("Backs", "backs.jpg")] {
        ben.attaches(label, &[&files.path(file)]).await;
        taps += 1;
    }
    ben.clicks("Find the pieces").await;
    taps += 1;
    ben.sees("0 of 2 photographs are searched.").await;
    // The page shows what the jobs have done, without a tap.
    shop.run_jobs().await;
    ben.sees("11 products").await;
    ben.shot("table-photos-found-360-light").await;
    ben.clicks("Create 11 drafts").await;
    taps += 1;
    ben.sees("11 products are made as drafts.").await;
    ben.heard_nothing_bad().await;
    assert!(taps <= MOST_TAPS, "{taps} taps");
    let admin = program(&shop).await;
    let products = admin.get("/api/admin/products/?page_size=50").await.json;
    let drafts = list(&products, "results").iter();
    assert_eq!(
        drafts.filter(|product| product["is_draft"] == true).count(),
        11
    );

    ben.clicks("Take back").await;
    ben.sees("11 products are taken back.").await;
    ben.heard_nothing_bad().await;
    shop.run_jobs().await;
}

/// A batch of eight pieces with their backs, worked off. Returns its page.
async fn laid_out(shop: &Shop) -> String {
    let admin = program(shop).await;
    let batch = admin.post("/api/admin/intakes/", &json!({})).await.json;
    let id = text(&batch["id"]).to_owned();
    for side in ["front", "back"] {
        let photo = photograph(&format!("s210-kin-{side}.jpg"));
        let parts = [
            crate::support::images::Part::text("side", side),
            crate::support::images::Part::file("image", &photo),
        ];
        let path = format!("/api/admin/intakes/{id}/photos/");
        assert_eq!(admin.send_form(&path, &parts).await.status, 202);
    }
    shop.run_jobs().await;
    format!("/admin/table-photos/{id}")
}

async fn told(shop: &Shop, page: &str) -> Value {
    let id = page.rsplit('/').next().expect("an id");
    let admin = program(shop).await;
    admin.get(&format!("/api/admin/intakes/{id}/")).await.json
}

/// Middle of an element in the window, scrolled into view.
async fn place(window: &Window, selector: &str) -> (f64, f64) {
    let place = window
        .asks(&format!(
            "const box = document.querySelector({selector:?}).getBoundingClientRect();
             return [box.left + box.width / 2, box.top + box.height / 2];"
        ))
        .await;
    let at = |axis: usize| place[axis].as_f64().expect("a number");
    (at(0), at(1))
}

/// A finger that goes from one place to another.
async fn swipes(window: &Window, from: (f64, f64), to: (f64, f64)) {
    let touch = async |kind: &str, points: Value| {
        let event = json!({"type": kind, "touchPoints": points});
        window.devtools("Input.dispatchTouchEvent", event).await;
    };
    touch("touchStart", json!([{"x": from.0, "y": from.1}])).await;
    for step in 1..=5 {
        let share = f64::from(step) / 5.0;
        let x = from.0 + share * (to.0 - from.0);
        let y = from.1 + share * (to.1 - from.1);
        touch("touchMove", json!([{"x": x, "y": y}])).await;
    }
    touch("touchEnd", json!([])).await;
}

#[tokio::test]
async fn backs_are_paired_by_a_finger_and_by_keys() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = priced().await;
    let page = laid_out(&shop).await;
    let before = told(&shop, &page).await;
    let items = list(&before, "items").clone();
    // Wide enough for two rows side by side, so that no page has to scroll under the finger.
    let ben = driver.opens(&shop, 900).await;
    ben.signs_in(STAFF).await;
    ben.goes_to(&page).await;
    ben.sees("Drag a back onto a front").await;
    ben.asks("document.querySelector('#piece-1').scrollIntoView(); return null;")
        .await;
    let handle = place(&ben, "#piece-1 [data-handle]").await;
    let other = place(&ben, "#piece-2 h2").await;
    swipes(&ben, handle, other).await;
    let chosen = ben
        .asks("return [1, 2].map((n) => document.querySelector(`#back-${n}`).value);")
        .await;
    assert_eq!(chosen, json!([items[1]["back"], items[0]["back"]]));
    let said = ben
        .asks("return document.querySelector('[data-paired]').textContent;")
        .await;
    assert!(
        text(&said).starts_with("Number 2 is paired with number "),
        "{said}"
    );
    assert!(
        text(&said).contains("Number 1 has its former back now."),
        "{said}"
    );

    // The arrow keys choose in the list.
    let list_of_three = ben.finds("the list", By::Css("#back-3")).await;
    list_of_three.focus().await.expect("the focus");
    list_of_three.send_keys(Key::Home).await.expect("a key");
    let third = ben
        .asks("return document.querySelector('#back-3').value;")
        .await;
    assert_eq!(third, "");
    ben.clicks("Save").await;
    ben.sees("Saved.").await;
    ben.heard_nothing_bad().await;
    let after = told(&shop, &page).await;
    let backs: Vec<&Value> = list(&after, "items")
        .iter()
        .map(|item| &item["back"])
        .collect();
    assert_eq!(
        backs[..3],
        [&items[1]["back"], &items[0]["back"], &Value::Null]
    );
    shop.run_jobs().await;
}

#[tokio::test]
async fn a_missed_piece_is_drawn_with_a_finger_and_a_cut_with_keys() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = priced().await;
    let page = laid_out(&shop).await;
    let before = told(&shop, &page).await;
    let photo = format!("{page}/photos/{}", text(&before["photos"][0]["id"]));
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.goes_to(&photo).await;
    ben.sees("Draw on the photograph").await;
    ben.asks("document.querySelector('[data-drawing] svg').scrollIntoView(); return null;")
        .await;
    let frame = ben
        .asks("const box = document.querySelector('[data-drawing] svg').getBoundingClientRect(); return [box.left, box.top, box.width, box.height];")
        .await;
    let at = |n: usize| frame[n].as_f64().expect("a number");
    let point = |x: f64, y: f64| (at(0) + x * at(2), at(1) + y * at(3));
    swipes(&ben, point(0.1, 0.2), point(0.3, 0.5)).await;
    let typed = ben
        .asks("return ['left', 'top', 'width', 'height'].map((name) => Math.round(document.getElementById(name).value));")
        .await;
    assert_eq!(typed, json!([10, 20, 20, 30]));
    ben.shot("table-photos-drawn-360-light").await;
    ben.clicks("Add this piece").await;
    ben.sees("The piece is being looked for.").await;
    shop.run_jobs().await;
    let drawn = told(&shop, &page).await;
    assert_eq!(list(&drawn, "pieces").len(), 17);

    // A line through the middle of number 1, in numbers.
    ben.goes_to(&photo).await;
    let points = list(&list(&drawn, "pieces")[0], "outline").clone();
    let values = |axis: usize| {
        points
            .iter()
            .map(move |point| point[axis].as_f64().expect("a number"))
    };
    let middle = values(1).sum::<f64>() / points.len() as f64 / 1200.0 * 100.0;
    for (name, value) in [
        ("from_x", 0.0),
        ("from_y", middle),
        ("to_x", 100.0),
        ("to_y", middle),
    ] {
        let field = ben.finds(name, By::Id(name)).await;
        field.send_keys(format!("{value:.1}")).await.expect("keys");
    }
    let shown = ben
        .asks("return document.querySelector('line.drawn').getAttribute('visibility');")
        .await;
    assert_eq!(shown, "visible");
    let button = ben.control("Cut in two").await;
    button.send_keys(Key::Enter).await.expect("a key");
    ben.sees("The piece is cut in two.").await;
    ben.heard_nothing_bad().await;
    shop.run_jobs().await;
    assert_eq!(list(&told(&shop, &page).await, "pieces").len(), 18);
}
