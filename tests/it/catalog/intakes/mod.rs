//! Photographs of a table become products, by the API.

mod bad_photographs;
mod corrections;
mod products;
mod repeats;
mod words;

use std::path::Path;

use serde_json::{Value, json};
use spirit_beads::auth::Scope;

use crate::support::images::Part;
use crate::support::{Answer, Client, Shop};

/// A photograph of the finder's own tests.
pub fn photograph(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/table-photos/tests/data");
    std::fs::read(folder.join(name)).expect("a photograph")
}

/// A program that may do everything with batches.
pub async fn program(shop: &Shop) -> Client {
    shop.admin(&[Scope::Catalog, Scope::Stock]).await
}

/// A batch of a program.
pub struct Batch<'a> {
    pub shop: &'a Shop,
    pub admin: Client,
    pub path: String,
}

impl<'a> Batch<'a> {
    /// Begins a batch with these choices.
    pub async fn begin(shop: &'a Shop, choices: &Value) -> Batch<'a> {
        without_renditions(shop).await;
        let admin = program(shop).await;
        let made = admin.post("/api/admin/intakes/", choices).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let id = made.json["id"].as_str().expect("an id");
        Batch {
            shop,
            admin,
            path: format!("/api/admin/intakes/{id}"),
        }
    }

    /// A batch with fronts and backs of one scene, worked off.
    pub async fn of_scene(shop: &'a Shop, scene: &str) -> Batch<'a> {
        let batch = Batch::begin(shop, &json!({})).await;
        for side in ["front", "back"] {
            let photo = photograph(&format!("{scene}-{side}.jpg"));
            batch.sends(side, &[("table.jpg", &photo)]).await;
        }
        shop.run_jobs().await;
        batch
    }

    /// Sends photographs of a side, under their names.
    pub async fn sends(&self, side: &str, files: &[(&str, &[u8])]) -> Value {
        let answer = self.tries_to_send(side, files).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json
    }

    pub async fn tries_to_send(&self, side: &str, files: &[(&str, &[u8])]) -> Answer {
        let mut parts = vec![Part::text("side", side)];
        parts.extend(files.iter().map(|(name, content)| Part {
            name: "image",
            file_name: Some(name),
            content,
        }));
        let path = format!("{}/photos/", self.path);
        self.admin.send_form(&path, &parts).await
    }

    /// The batch as it is.
    pub async fn shows(&self) -> Value {
        let shown = self.admin.get(&format!("{}/", self.path)).await;
        assert_eq!(shown.status, 200, "{}", shown.text);
        shown.json
    }

    /// Sends a change to a path below the batch.
    pub async fn changes(&self, method: reqwest::Method, below: &str, body: &Value) -> Answer {
        let path = format!("{}/{below}/", self.path);
        self.admin.send_json(method, &path, body).await
    }

    /// Types a name and a price for each front that has none: `Piece 1` in the order of the list, in the shop's currency.
    pub async fn types_names_and_prices(&self) {
        let shown = self.shows().await;
        for (at, item) in list(&shown, "items").iter().enumerate() {
            let below = format!("items/{}", text(&item["front"]));
            let typed = json!({"name": format!("Typed {at}"), "price": 4500 + 100 * at});
            let typed = self.changes(reqwest::Method::PATCH, &below, &typed).await;
            assert_eq!(typed.status, 200, "{}", typed.text);
        }
        self.shop.run_jobs().await;
    }

    /// Creates the products as drafts.
    pub async fn creates(&self) -> Value {
        let made = self
            .changes(reqwest::Method::POST, "create", &json!({}))
            .await;
        assert_eq!(made.status, 201, "{}", made.text);
        self.shop.run_jobs().await;
        made.json
    }
}

/// Nobody looks at the images of these tests in the browser, and their renditions would take most of the time.
pub async fn without_renditions(shop: &Shop) {
    sqlx::raw_sql(
        "create or replace function count_as_rendered() returns trigger language plpgsql as
             'begin new.rendered_at := now(); return new; end';
         create or replace trigger count_as_rendered before insert on images
             for each row execute function count_as_rendered();",
    )
    .execute(&shop.db)
    .await
    .expect("a trigger");
}

/// A list of an answer.
pub fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().expect("a list")
}

pub fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The piece with this id.
pub fn piece<'a>(batch: &'a Value, id: &Value) -> &'a Value {
    let mut pieces = list(batch, "pieces").iter();
    pieces.find(|piece| piece["id"] == *id).expect("a piece")
}

/// Middle of a piece's outline.
pub fn middle(piece: &Value) -> (f64, f64) {
    let points = list(piece, "outline");
    let mean = |axis: usize| {
        let sum: f64 = points
            .iter()
            .map(|point| point[axis].as_f64().expect("a number"))
            .sum();
        sum / points.len() as f64
    };
    (mean(0), mean(1))
}
