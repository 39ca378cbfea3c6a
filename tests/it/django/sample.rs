//! The sample shop from both sources: dry run, import, import again.

use serde_json::{Value, json};

use super::expected::{check, expected};
use super::{Takeover, in_postgres};

/// Dry run, import, import again: what every source has to come to.
async fn imports_the_sample(takeover: &Takeover) {
    let empty = takeover.everything().await;
    let rehearsed = takeover.import(&["--dry-run"]).await;
    assert_eq!(
        takeover.everything().await,
        empty,
        "a dry run keeps nothing"
    );
    assert_eq!(takeover.one::<i64>("select count(*) from images").await, 0);
    assert_eq!(
        takeover.one::<i64>("select count(*) from audit_log").await,
        0
    );

    let report = takeover.import(&[]).await;
    for same in ["counts", "findings", "images", "old"] {
        assert_eq!(
            rehearsed[same], report[same],
            "a dry run says what an import does"
        );
    }
    check(takeover).await;
    check_report(&report);

    let numbers = "select count(*) filter (where number <> 1000 + place)
                   from (select number, row_number() over (order by created_at, id) as place from orders
                         where id not in (select order_id from order_events where note like 'Made by the import%')) o";
    assert_eq!(takeover.one::<i64>(numbers).await, 0, "numbers go by time");
    let next = "select nextval('order_number')";
    assert_eq!(takeover.one::<i64>(next).await, 1172);

    let imported = takeover.everything().await;
    let again = takeover.import(&[]).await;
    assert_eq!(
        takeover.everything().await,
        imported,
        "a second import changes no row"
    );
    for (kind, count) in again["counts"].as_object().expect("counts") {
        assert_eq!(
            (&count["created"], &count["updated"]),
            (&json!(0), &json!(0)),
            "{kind}"
        );
    }
    assert_eq!(
        again["images_decoded"],
        json!(1),
        "only what is no image is looked at again"
    );
    let entries = "select count(*) from audit_log where action = 'import.django'";
    assert_eq!(takeover.one::<i64>(entries).await, 2);
    assert_eq!(takeover.one::<i64>("select count(*) from emails").await, 0);

    let (code, said, complaint) = takeover.beside.run(&["stock", "check"]).await;
    assert_eq!(code, 0, "{said}{complaint}");
}

fn check_report(report: &Value) {
    let expected = expected();
    let (source, target) = (&expected["source"], &expected["target"]);
    for (ours, theirs) in [
        ("categories", "products_category"),
        ("products", "products_product"),
        ("orders", "orders_order"),
        ("lines", "orders_orderitem"),
        ("custom_orders", "custom_orders_customorderrequest"),
        ("users", "auth_user"),
        ("pieces", "inventory_sum"),
        ("orders_total", "amount_total_sum"),
    ] {
        assert_eq!(report["old"][ours], source[theirs], "{ours}");
    }
    let findings = &report["findings"];
    assert_eq!(findings["mended"], json!([]));
    assert_eq!(findings["unknown"], json!([]));
    let left_out: Vec<Value> = findings["left_out"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|left| {
            let id = left["row"]
                .as_str()
                .expect("a row")
                .trim_start_matches("user ");
            json!({"user": id.parse::<i64>().expect("a number"), "why": left["text"]})
        })
        .collect();
    assert_eq!(Value::from(left_out), target["users_left_out"]);
    // Its words are older than ours.
    let mut images = target["pictures_reported"].to_string();
    for (old, new) in [
        ("\"request ", "\"custom order "),
        ("no picture that", "no image that"),
    ] {
        images = images.replace(old, new);
    }
    let mut images: Vec<Value> = serde_json::from_str(&images).expect("JSON");
    let mut found = findings["images"].as_array().expect("a list").clone();
    for list in [&mut images, &mut found] {
        list.sort_by_key(Value::to_string);
    }
    assert_eq!(found, images);
    let text = report.to_string();
    for private in ["@example", "Kit Alder", "Kiln St"] {
        assert!(!text.contains(private), "the report tells {private}");
    }
}

#[tokio::test]
async fn the_sample_comes_in_from_sqlite() {
    let takeover = Takeover::begin().await;
    imports_the_sample(&takeover).await;
}

#[tokio::test]
async fn the_sample_comes_in_from_postgresql_while_the_old_shop_runs() {
    let mut takeover = Takeover::begin().await;
    let (_database, url) = in_postgres().await;
    takeover.beside.settings.push(("DJANGO_DATABASE_URL", url));
    imports_the_sample(&takeover).await;
}
