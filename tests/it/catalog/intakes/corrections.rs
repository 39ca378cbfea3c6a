//! A person corrects what the jobs found, and no job takes it back.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Batch, list, photograph, piece, text};
use crate::support::Shop;

#[tokio::test]
async fn a_piece_is_turned_left_out_and_put_back() {
    let shop = Shop::open().await;
    let batch = Batch::of_scene(&shop, "s210-kin").await;
    let before = batch.shows().await;
    let item = &list(&before, "items")[2];
    let front = piece(&before, &item["front"]).clone();
    let below = format!("pieces/{}", text(&front["id"]));
    let degrees = front["head_degrees"].as_f64().expect("a number");
    let turned = batch
        .changes(
            Method::PATCH,
            &below,
            &json!({"head_degrees": degrees + 180.0}),
        )
        .await;
    assert_eq!(turned.status, 200, "{}", turned.text);
    assert!(piece(&turned.json, &front["id"])["image"].is_null());
    assert_eq!(turned.json["is_working"], true);
    // Nothing is made of what is not there yet.
    batch_is_busy(&batch).await;
    shop.run_jobs().await;
    let after = batch.shows().await;
    let turned = piece(&after, &front["id"]);
    assert_ne!(turned["image"]["url"], front["image"]["url"]);
    let now = turned["head_degrees"].as_f64().expect("a number");
    assert!(
        ((now - degrees).abs() - 180.0).abs() < 0.1,
        "{degrees} {now}"
    );

    let out = batch
        .changes(Method::PATCH, &below, &json!({"left_out": true}))
        .await;
    assert_eq!(out.status, 200, "{}", out.text);
    shop.run_jobs().await;
    let out = batch.shows().await;
    assert_eq!(list(&out, "items").len(), 7);
    let remark = text(&out["remarks"][0]).to_owned();
    let back = piece(&out, &item["back"])["number"].clone();
    assert_eq!(
        remark,
        format!("7 fronts and 8 backs: number {back} has no partner.")
    );
    batch
        .changes(Method::PATCH, &below, &json!({"left_out": false}))
        .await;
    shop.run_jobs().await;
    let again = batch.shows().await;
    assert_eq!(list(&again, "items").len(), 8);
    assert_eq!(list(&again, "remarks").len(), 0);
    assert_eq!(list(&again, "items")[2]["back"], item["back"]);
}

async fn batch_is_busy(batch: &Batch<'_>) {
    let busy = batch.changes(Method::POST, "create", &json!({})).await;
    assert_eq!(
        (busy.status, &busy.json["code"]),
        (409, &json!("intake_is_busy"))
    );
}

#[tokio::test]
async fn pairs_by_hand_outlast_the_jobs() {
    let shop = Shop::open().await;
    let batch = Batch::of_scene(&shop, "s210-kin").await;
    let before = batch.shows().await;
    let [one, two, three] = [0, 1, 2].map(|at| list(&before, "items")[at].clone());
    let pairs = json!({"version": before["version"], "pairs": [
        {"front": one["front"], "back": two["back"]},
        {"front": two["front"], "back": one["back"]},
        {"front": three["front"], "back": null},
    ]});
    let paired = batch.changes(Method::PUT, "pairs", &pairs).await;
    assert_eq!(paired.status, 200, "{}", paired.text);
    // Somebody else had the page open.
    let late = batch.changes(Method::PUT, "pairs", &pairs).await;
    assert_eq!(
        (late.status, &late.json["code"]),
        (409, &json!("version_conflict"))
    );
    // Another photograph pairs anew what the jobs paired.
    let more = photograph("s202-mixed-front.jpg");
    batch.sends("front", &[("more.jpg", &more)]).await;
    shop.run_jobs().await;
    let after = batch.shows().await;
    assert_eq!(list(&after, "items").len(), 18);
    let item = |front: &Value| {
        let mut items = list(&after, "items").iter();
        items
            .find(|item| item["front"] == *front)
            .expect("an item")
            .clone()
    };
    for (front, back) in [
        (&one["front"], &two["back"]),
        (&two["front"], &one["back"]),
        (&three["front"], &Value::Null),
    ] {
        let item = item(front);
        assert_eq!((&item["back"], &item["pairing"]), (back, &json!("by_hand")));
    }

    // One back for two fronts, a front for a back, and what is no piece.
    for (pair, field) in [
        (
            json!([{"front": one["front"], "back": three["back"]}, {"front": two["front"], "back": three["back"]}]),
            "pairs[1].back",
        ),
        (
            json!([{"front": one["front"], "back": two["front"]}]),
            "pairs[0].back",
        ),
        (
            json!([{"front": one["back"], "back": null}]),
            "pairs[0].front",
        ),
        (json!([{"front": "x", "back": null}]), "pairs[0].front"),
    ] {
        let refused = batch
            .changes(Method::PUT, "pairs", &json!({"pairs": pair}))
            .await;
        assert_eq!(refused.field_errors(), [field], "{}", refused.text);
    }
}

#[tokio::test]
async fn a_front_turns_out_to_be_a_back() {
    let shop = Shop::open().await;
    let batch = Batch::begin(&shop, &json!({})).await;
    // Both were chosen as fronts.
    for side in ["front", "back"] {
        let photo = photograph(&format!("s210-kin-{side}.jpg"));
        batch.sends("front", &[(side, &photo)]).await;
    }
    shop.run_jobs().await;
    let mistaken = batch.shows().await;
    let photo = text(&mistaken["photos"][1]["id"]).to_owned();
    let turned = batch
        .changes(
            Method::PATCH,
            &format!("photos/{photo}"),
            &json!({"side": "back"}),
        )
        .await;
    assert_eq!(turned.status, 200, "{}", turned.text);
    shop.run_jobs().await;
    let after = batch.shows().await;
    assert_eq!(list(&after, "items").len(), 8);
    assert!(
        list(&after, "items")
            .iter()
            .all(|item| item["back"].is_string())
    );

    // A single one, and back again.
    let item = &list(&after, "items")[0];
    let below = format!("pieces/{}", text(&item["back"]));
    batch
        .changes(Method::PATCH, &below, &json!({"side": "front"}))
        .await;
    shop.run_jobs().await;
    let odd = batch.shows().await;
    assert_eq!(list(&odd, "items").len(), 9);
    batch
        .changes(Method::PATCH, &below, &json!({"side": "back"}))
        .await;
    shop.run_jobs().await;
    let even = batch.shows().await;
    assert_eq!(list(&even, "items").len(), 8);
    assert_eq!(list(&even, "items")[0]["back"], item["back"]);
    let removed = batch
        .changes(Method::DELETE, &format!("photos/{photo}"), &Value::Null)
        .await;
    assert_eq!(removed.status, 200, "{}", removed.text);
    shop.run_jobs().await;
    assert_eq!(list(&batch.shows().await, "pieces").len(), 8);
}

#[tokio::test]
async fn a_missed_piece_is_drawn_and_found_in_its_box() {
    let shop = Shop::open().await;
    let batch = Batch::begin(&shop, &json!({})).await;
    let photo = photograph("s210-kin-front.jpg");
    batch.sends("front", &[("table.jpg", &photo)]).await;
    shop.run_jobs().await;
    let before = batch.shows().await;
    let missed = list(&before, "pieces")[3].clone();
    // The finder's own piece is left out; then a rough box is drawn around it.
    let below = format!("pieces/{}", text(&missed["id"]));
    batch
        .changes(Method::PATCH, &below, &json!({"left_out": true}))
        .await;
    let points = list(&missed, "outline");
    let edge = |axis: usize, least: bool| {
        let values = points
            .iter()
            .map(|point| point[axis].as_f64().expect("a number"));
        match least {
            true => values.fold(f64::INFINITY, f64::min) - 4.0,
            false => values.fold(f64::NEG_INFINITY, f64::max) + 6.0,
        }
    };
    let (left, top, right, bottom) = (edge(0, true), edge(1, true), edge(0, false), edge(1, false));
    let outline = json!([[left, top], [right, top], [right, bottom], [left, bottom]]);
    let photo_id = before["photos"][0]["id"].clone();
    let drawn = batch
        .changes(
            Method::POST,
            "pieces",
            &json!({"photo": photo_id, "outline": outline}),
        )
        .await;
    assert_eq!(drawn.status, 201, "{}", drawn.text);
    shop.run_jobs().await;
    let after = batch.shows().await;
    assert_eq!(list(&after, "items").len(), 8);
    let found = list(&after, "pieces").last().expect("the piece");
    assert!(found["image"].is_object(), "{found}");
    assert!(
        list(found, "outline").len() > 20,
        "its own outline, not the box"
    );
    let (here, there) = (super::middle(found), super::middle(&missed));
    assert!(
        (here.0 - there.0).hypot(here.1 - there.1) < 10.0,
        "{here:?} {there:?}"
    );
    let degrees = |piece: &Value| piece["head_degrees"].as_f64().expect("a number");
    assert!((degrees(found) - degrees(&missed)).abs() < 5.0);

    // Where nothing lies, the drawing itself is cut out.
    let corner = json!([[2, 2], [42, 2], [42, 92], [2, 92]]);
    let drawn = batch
        .changes(
            Method::POST,
            "pieces",
            &json!({"photo": photo_id, "outline": corner}),
        )
        .await;
    assert_eq!(drawn.status, 201, "{}", drawn.text);
    shop.run_jobs().await;
    let last = batch.shows().await;
    let last = list(&last, "pieces").last().expect("the piece");
    assert!(
        last["image"].is_object() || last["remark"].is_string(),
        "{last}"
    );
    for outline in [
        json!([]),
        json!([[0, 0], [1, 0], [1, 1]]),
        json!([[0, 0], [1e9, 0], [5, 5]]),
        json!([[0, 0], [-50, 0], [-50, 50]]),
    ] {
        let drawing = json!({"photo": photo_id, "outline": outline});
        let refused = batch.changes(Method::POST, "pieces", &drawing).await;
        assert_eq!(refused.field_errors(), ["outline"], "{}", refused.text);
    }
}

#[tokio::test]
async fn two_in_one_are_cut_apart() {
    let shop = Shop::open().await;
    let batch = Batch::begin(&shop, &json!({})).await;
    let photo = photograph("s210-kin-front.jpg");
    batch.sends("front", &[("table.jpg", &photo)]).await;
    shop.run_jobs().await;
    let before = batch.shows().await;
    // Two neighbors are drawn as one.
    let [one, two] = [0, 1].map(|at| list(&before, "pieces")[at].clone());
    let (here, there) = (super::middle(&one), super::middle(&two));
    let outline: Vec<Value> = [&one, &two]
        .iter()
        .flat_map(|piece| list(piece, "outline").clone())
        .collect();
    let edge = |axis: usize, worst: fn(f64, f64) -> f64| {
        outline
            .iter()
            .map(|point| point[axis].as_f64().expect("a number"))
            .reduce(worst)
            .expect("points")
    };
    let (left, right) = (edge(0, f64::min), edge(0, f64::max));
    let (top, bottom) = (edge(1, f64::min), edge(1, f64::max));
    let both = json!([[left, top], [right, top], [right, bottom], [left, bottom]]);
    let below = format!("pieces/{}", text(&one["id"]));
    batch
        .changes(Method::PATCH, &below, &json!({"outline": both}))
        .await;
    let between = ((here.0 + there.0) / 2.0, (here.1 + there.1) / 2.0);
    // Square to the line from one to the other.
    let across = (there.1 - here.1, here.0 - there.0);
    let line = json!({
        "from": [between.0 - across.0, between.1 - across.1],
        "to": [between.0 + across.0, between.1 + across.1],
    });
    let cut = batch
        .changes(Method::POST, &format!("{below}/cut"), &line)
        .await;
    assert_eq!(cut.status, 201, "{}", cut.text);
    assert_eq!(list(&cut.json, "pieces").len(), 9);
    shop.run_jobs().await;
    let after = batch.shows().await;
    for piece in list(&after, "pieces") {
        assert!(piece["image"].is_object(), "{piece}");
    }
    let beside = json!({"from": [0, 0], "to": [0, 5]});
    let refused = batch
        .changes(Method::POST, &format!("{below}/cut"), &beside)
        .await;
    assert_eq!(refused.field_errors(), ["to"], "{}", refused.text);
}
