//! Jobs that fail and run again, requests that come twice, and what must not be done a second time.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::jobs::Job;
use spirit_beads::types::ids::PhotoId;
use spirit_beads::worker;

use super::{Batch, list, photograph, piece, text};
use crate::support::{Client, Shop};

/// No new image can be stored from now on.
async fn refuse_images(shop: &Shop) {
    let sql = "create function refuse() returns trigger language plpgsql as
                   'begin raise exception ''no room''; end';
               create trigger refuse before insert on images for each row execute function refuse();";
    let made = sqlx::raw_sql(sql).execute(&shop.db).await;
    made.expect("a trigger");
}

#[tokio::test]
async fn staging_ends_when_nothing_can_be_stored_and_goes_on_afterwards() {
    let shop = Shop::open().await;
    let batch = Batch::begin(&shop, &json!({})).await;
    let photo = photograph("s210-kin-front.jpg");
    let sent = batch.sends("front", &[("table.jpg", &photo)]).await;
    let id = text(&sent["photos"][0]["id"]).parse().map(PhotoId);
    let photo = id.expect("an id");
    let intake = batch.path.rsplit('/').next().expect("an id").parse();
    let intake = spirit_beads::types::ids::IntakeId(intake.expect("an id"));
    for job in [Job::FindPieces { photo }, Job::PairPieces { intake }] {
        worker::perform(&shop.app, job).await.expect("pieces");
    }
    refuse_images(&shop).await;
    let staging = worker::perform(&shop.app, Job::StagePieces { photo });
    let failed = tokio::time::timeout(Duration::from_secs(60), staging).await;
    failed.expect("an end").expect_err("a failure");
    let waiting = batch.shows().await;
    assert_eq!(waiting["is_working"], true);
    for piece in list(&waiting, "pieces") {
        assert_eq!(piece["remark"], Value::Null, "it is tried again: {piece}");
    }
    sqlx::raw_sql("drop trigger refuse on images")
        .execute(&shop.db)
        .await
        .expect("room");
    shop.run_jobs().await;
    let made = batch.shows().await;
    assert_eq!(made["is_working"], false);
    let mut pieces = list(&made, "pieces").iter();
    assert!(pieces.all(|piece| piece["image"].is_object()));
}

#[tokio::test]
async fn a_photograph_that_ends_the_process_three_times_is_given_up_and_the_others_go_on() {
    let shop = Shop::open().await;
    let batch = Batch::begin(&shop, &json!({})).await;
    let [good, bad] = ["s210-kin-front.jpg", "s202-mixed-front.jpg"].map(photograph);
    batch
        .sends("front", &[("bad.jpg", &bad), ("good.jpg", &good)])
        .await;
    batch
        .sends("back", &[("zip.jpg", b"PK\x03\x04 no photograph")])
        .await;
    sqlx::query("update intake_photos set attempts = 3 where file_name = 'bad.jpg'")
        .execute(&shop.db)
        .await
        .expect("three dead processes");
    shop.run_jobs().await;
    is_ready_without_its_first_photograph(&batch).await;
}

#[tokio::test]
async fn a_photograph_that_is_not_in_the_store_any_more_is_given_up_and_the_others_go_on() {
    let shop = Shop::open().await;
    let batch = Batch::begin(&shop, &json!({})).await;
    let [good, bad] = ["s210-kin-front.jpg", "s202-mixed-front.jpg"].map(photograph);
    batch.sends("front", &[("bad.jpg", &bad)]).await;
    batch.sends("front", &[("good.jpg", &good)]).await;
    lose_first_photograph(&shop).await;
    shop.run_jobs().await;
    is_ready_without_its_first_photograph(&batch).await;

    // Lost after the search: its pieces are told apart no more, and cannot be cut out.
    let late = Batch::begin(&shop, &json!({})).await;
    let blue = photograph("s201-plain-front.jpg");
    let sent = late.sends("front", &[("blue.jpg", &blue)]).await;
    let photo = text(&sent["photos"][0]["id"]).parse().map(PhotoId);
    let job = Job::FindPieces {
        photo: photo.expect("an id"),
    };
    worker::perform(&shop.app, job).await.expect("a search");
    lose_first_photograph(&shop).await;
    shop.run_jobs().await;
    is_not_cut_out(&late).await;
}

#[tokio::test]
async fn a_photograph_that_ends_the_process_while_it_is_staged_is_given_up() {
    let shop = Shop::open().await;
    let batch = Batch::begin(&shop, &json!({})).await;
    let photo = photograph("s210-kin-front.jpg");
    let sent = batch.sends("front", &[("table.jpg", &photo)]).await;
    let id = text(&sent["photos"][0]["id"]).parse().map(PhotoId);
    let job = Job::FindPieces {
        photo: id.expect("an id"),
    };
    worker::perform(&shop.app, job).await.expect("a search");
    sqlx::query("update intake_photos set attempts = 3")
        .execute(&shop.db)
        .await
        .expect("three dead processes");
    shop.run_jobs().await;
    is_not_cut_out(&batch).await;
}

async fn is_not_cut_out(batch: &Batch<'_>) {
    let shown = batch.shows().await;
    assert_eq!(shown["is_working"], false);
    assert!(!list(&shown, "pieces").is_empty());
    for piece in list(&shown, "pieces") {
        let told = text(&piece["remark"]);
        assert!(
            told.starts_with("This piece could not be cut out."),
            "{told}"
        );
    }
}

/// Deletes the file of the first photograph of the newest batch.
async fn lose_first_photograph(shop: &Shop) {
    let key: String = sqlx::query_scalar(
        "select i.storage_key
         from images i
         join intake_photos p on p.image_id = i.id
         join intakes b on b.id = p.intake_id
         order by b.number desc, p.position
         limit 1",
    )
    .fetch_one(&shop.db)
    .await
    .expect("a photograph");
    let folder = shop.media_folder().join("images").join(key);
    std::fs::remove_dir_all(folder).expect("a folder");
}

async fn is_ready_without_its_first_photograph(batch: &Batch<'_>) {
    let shown = batch.shows().await;
    assert_eq!(shown["photos"][0]["status"], "failed");
    assert_eq!(
        shown["photos"][0]["problem"],
        "This photograph could not be searched. Take another one."
    );
    assert_eq!(shown["is_working"], false, "{shown}");
    assert_eq!(list(&shown, "items").len(), 8);
    batch.types_names_and_prices().await;
    assert_eq!(batch.creates().await["status"], "done");
}

#[tokio::test]
async fn a_photograph_that_shows_the_side_already_keeps_its_pairs() {
    let shop = Shop::open().await;
    let batch = Batch::of_scene(&shop, "s210-kin").await;
    let shown = batch.shows().await;
    let [one, two] = [0, 1].map(|at| list(&shown, "items")[at].clone());
    let pairs = json!({"pairs": [{"front": one["front"], "back": two["back"]}]});
    let before = batch.changes(Method::PUT, "pairs", &pairs).await.json;
    let moved = format!("pieces/{}", text(&list(&shown, "items")[4]["front"]));
    let moved = batch
        .changes(Method::PATCH, &moved, &json!({"side": "back"}))
        .await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    shop.run_jobs().await;
    let before_repeat = batch.shows().await;
    assert_eq!(
        list(&before_repeat, "items").len(),
        list(&before, "items").len() - 1
    );
    for (at, side) in ["front", "back"].into_iter().enumerate() {
        let photo = text(&shown["photos"][at]["id"]);
        let path = format!("photos/{photo}");
        let same = batch
            .changes(Method::PATCH, &path, &json!({"side": side}))
            .await;
        assert_eq!((same.status, &same.json), (200, &before_repeat));
    }
}

#[tokio::test]
async fn whatever_is_safe_to_repeat_changes_nothing_the_second_time() {
    let shop = Shop::open().await;
    let batch = Batch::of_scene(&shop, "s210-kin").await;
    let shown = batch.shows().await;
    let [one, two, three] = [0, 1, 2].map(|at| list(&shown, "items")[at].clone());
    let front = piece(&shown, &three["front"]);
    let outline: Vec<Value> = list(front, "outline").iter().step_by(3).cloned().collect();
    let below = format!("pieces/{}", text(&front["id"]));
    let item = format!("items/{}", text(&one["front"]));
    let pairs = json!({"pairs": [
        {"front": one["front"], "back": two["back"]},
        {"front": three["front"], "back": null},
    ]});
    for (method, below, change) in [
        (Method::PATCH, &below, json!({"head_degrees": 300.5})),
        (Method::PATCH, &below, json!({"outline": outline})),
        (Method::PATCH, &below, json!({"side": "back"})),
        (Method::PATCH, &below, json!({"side": "front"})),
        (Method::PUT, &"pairs".to_owned(), pairs),
        (
            Method::PATCH,
            &item,
            json!({"name": "Wren", "price": 4700, "lighter_type": 2}),
        ),
        (Method::PATCH, &below, json!({"left_out": true})),
    ] {
        let first = batch.changes(method.clone(), below, &change).await;
        assert_eq!(first.status, 200, "{change}: {}", first.text);
        shop.run_jobs().await;
        let before = batch.shows().await;
        let again = batch.changes(method, below, &change).await;
        assert_eq!((again.status, &again.json), (200, &before), "{change}");
    }
}

async fn posts(client: &Client, key: &str, path: &str, body: &Value) -> crate::support::Answer {
    let headers = [
        ("idempotency-key", key),
        ("content-type", "application/json"),
    ];
    let body = Some(body.to_string());
    client.send(Method::POST, path, &headers, body).await
}

#[tokio::test]
async fn a_batch_and_its_products_that_come_twice_under_one_key_are_made_once() {
    let shop = Shop::open().await;
    super::without_renditions(&shop).await;
    let admin = super::program(&shop).await;
    let choices = json!({"lighter_type": 1});
    let first = posts(&admin, "one", "/api/admin/intakes/", &choices).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let again = posts(&admin, "one", "/api/admin/intakes/", &choices).await;
    assert_eq!((again.status, &again.json), (201, &first.json));
    let other = posts(&admin, "one", "/api/admin/intakes/", &json!({})).await;
    assert_eq!(other.status, 422, "{}", other.text);
    assert_eq!(admin.get("/api/admin/intakes/").await.json["count"], 1);

    let batch = Batch {
        shop: &shop,
        path: format!("/api/admin/intakes/{}", text(&first.json["id"])),
        admin,
    };
    let photo = photograph("s210-kin-front.jpg");
    batch.sends("front", &[("table.jpg", &photo)]).await;
    shop.run_jobs().await;
    let create = format!("{}/create/", batch.path);
    let (drafts, sale) = (json!({"draft": true}), json!({"draft": false}));
    // A refusal is not kept: the key is good for the corrected batch.
    let refused = posts(&batch.admin, "two", &create, &drafts).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    batch.types_names_and_prices().await;
    let made = posts(&batch.admin, "two", &create, &drafts).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let again = posts(&batch.admin, "two", &create, &drafts).await;
    assert_eq!((again.status, &again.json), (201, &made.json));
    assert_eq!(posts(&batch.admin, "two", &create, &sale).await.status, 422);
    let without = batch.changes(Method::POST, "create", &drafts).await;
    assert_eq!(without.json["code"], "intake_is_closed");
    shop.run_jobs().await;
    let products = batch.admin.get("/api/admin/products/").await.json;
    assert_eq!(products["count"], 8);
}

#[tokio::test]
async fn a_batch_whose_photographs_are_gone_is_not_opened_again() {
    let shop = Shop::open().await;
    let batch = Batch::of_scene(&shop, "s210-kin").await;
    batch.types_names_and_prices().await;
    batch.creates().await;
    sqlx::query("update intakes set changed_at = changed_at - interval '31 days'")
        .execute(&shop.db)
        .await
        .expect("a month passes");
    let swept = worker::perform(&shop.app, Job::SweepImages).await;
    swept.expect("a sweep");
    let late = batch.changes(Method::POST, "take-back", &Value::Null).await;
    assert_eq!(
        (late.status, &late.json["code"]),
        (409, &json!("photos_are_gone")),
        "{}",
        late.text
    );
    let shown = batch.shows().await;
    assert_eq!(shown["status"], "done");
    let products = batch.admin.get("/api/admin/products/").await.json;
    assert_eq!(products["count"], 8);
    shop.run_jobs().await;
}

#[tokio::test]
async fn taking_back_goes_along_the_arrows_alone() {
    let shop = Shop::open().await;
    let batch = Batch::of_scene(&shop, "s210-kin").await;
    let none = batch.changes(Method::POST, "take-back", &Value::Null).await;
    assert_eq!(none.json["code"], "nothing_to_take_back", "{}", none.text);
    batch.types_names_and_prices().await;
    let made = batch.creates().await;
    let id = text(&list(&made, "items")[3]["product_id"]).to_owned();
    let edits = async |description: &str| {
        let path = format!("/api/products/{id}/");
        let edit = json!({"description": description});
        let edited = batch.admin.send_json(Method::PATCH, &path, &edit).await;
        assert_eq!(edited.status, 200, "{}", edited.text);
    };
    edits("My best one").await;
    let taken = batch.changes(Method::POST, "take-back", &Value::Null).await;
    assert_eq!(taken.json["removed"], 7, "{}", taken.text);
    // On the open batch it tries what stayed once more, and changes nothing as long as that stays.
    let open = &taken.json["intake"];
    let again = batch.changes(Method::POST, "take-back", &Value::Null).await;
    assert_eq!(again.json["removed"], 0, "{}", again.text);
    assert_eq!(&again.json["intake"], open);
    let gone = batch
        .admin
        .send_json(
            Method::DELETE,
            &format!("/api/products/{id}/"),
            &Value::Null,
        )
        .await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    let again = batch.changes(Method::POST, "take-back", &Value::Null).await;
    assert_eq!(again.json["removed"], 1, "{}", again.text);
    assert_eq!(again.json["intake"]["status"], "open");

    // A discarded batch stays so, with its products.
    let made = batch.creates().await;
    let id = text(&list(&made, "items")[3]["product_id"]).to_owned();
    let path = format!("/api/products/{id}/");
    let edit = json!({"description": "Another"});
    batch.admin.send_json(Method::PATCH, &path, &edit).await;
    batch.changes(Method::POST, "take-back", &Value::Null).await;
    let discarded = batch
        .admin
        .send_json(Method::DELETE, &format!("{}/", batch.path), &Value::Null)
        .await;
    assert_eq!(discarded.status, 204, "{}", discarded.text);
    let closed = batch.changes(Method::POST, "take-back", &Value::Null).await;
    assert_eq!(closed.json["code"], "intake_is_closed", "{}", closed.text);
    assert_eq!(batch.shows().await["status"], "discarded");
    let kept = format!("/api/admin/products/{id}/");
    assert_eq!(batch.admin.get(&kept).await.status, 200);
    shop.run_jobs().await;
}

#[tokio::test]
async fn a_piece_that_a_person_paired_is_not_left_out_for_its_twin() {
    let shop = Shop::open().await;
    let batch = Batch::begin(&shop, &json!({})).await;
    // The first photograph of the fronts is taken for one of backs.
    for (side, name) in [
        ("back", "s208-overlap-front1.jpg"),
        ("front", "s208-overlap-front2.jpg"),
        ("back", "s208-overlap-back2.jpg"),
    ] {
        let photo = photograph(name);
        batch.sends(side, &[(name, &photo)]).await;
        shop.run_jobs().await;
    }
    let shown = batch.shows().await;
    let of_photo = |at: usize| -> Vec<Value> {
        let photo = &shown["photos"][at]["id"];
        let pieces = list(&shown, "pieces").iter();
        let used = pieces.filter(|piece| piece["photo"] == *photo && piece["state"] == "used");
        used.map(|piece| piece["id"].clone()).collect()
    };
    let (fronts, backs) = (of_photo(1), of_photo(2));
    assert!(fronts.len() > 3 && backs.len() > 3);
    let pairs: Vec<Value> = fronts
        .iter()
        .enumerate()
        .map(|(at, front)| json!({"front": front, "back": backs.get(at)}))
        .collect();
    let paired = batch
        .changes(Method::PUT, "pairs", &json!({"pairs": pairs}))
        .await;
    assert_eq!(paired.status, 200, "{}", paired.text);
    let first = format!("photos/{}", text(&shown["photos"][0]["id"]));
    let turned = batch
        .changes(Method::PATCH, &first, &json!({"side": "front"}))
        .await;
    assert_eq!(turned.status, 200, "{}", turned.text);
    shop.run_jobs().await;
    let after = batch.shows().await;
    for pair in &pairs {
        let mut items = list(&after, "items").iter();
        let item = items.find(|item| item["front"] == pair["front"]);
        let item = item.expect("a front that stays");
        assert_eq!(
            (&item["back"], &item["pairing"]),
            (&pair["back"], &json!("by_hand"))
        );
    }
    // Its twin in the other photograph is left out instead.
    let twins: Vec<&Value> = list(&after, "pieces")
        .iter()
        .filter(|piece| piece["state"] == "left_out")
        .collect();
    assert!(!twins.is_empty());
    for twin in twins {
        assert_eq!(twin["photo"], shown["photos"][0]["id"]);
        assert!(fronts.contains(&twin["same_as"]), "{twin}");
    }
    // What is paired once more does not fail.
    let lone = json!({"photo": shown["photos"][0]["id"],
        "outline": [[2, 2], [42, 2], [42, 92], [2, 92]]});
    let drawn = batch.changes(Method::POST, "pieces", &lone).await;
    assert_eq!(drawn.status, 201, "{}", drawn.text);
    shop.run_jobs().await;
}

#[tokio::test]
async fn a_back_of_a_front_that_was_left_out_does_not_stop_the_pairing() {
    let shop = Shop::open().await;
    let batch = Batch::of_scene(&shop, "s210-kin").await;
    // As an earlier version left it: the front is out, its pair by hand is there.
    sqlx::query(
        "with out as (update intake_pieces set state = 'left_out' where number = 3 returning id)
         update intake_items set is_paired_by_hand = true where piece_id in (select id from out)",
    )
    .execute(&shop.db)
    .await
    .expect("a front");
    let shown = batch.shows().await;
    let other = format!("pieces/{}", text(&list(&shown, "items")[4]["front"]));
    batch
        .changes(Method::PATCH, &other, &json!({"left_out": true}))
        .await;
    shop.run_jobs().await;
    assert_eq!(batch.shows().await["is_working"], false);
}
