//! Lists and expansion.

use serde_json::Value;

use crate::support::{SESSIONS, Stripe};

/// The ids of a list, in its order.
fn ids(list: &Value) -> Vec<String> {
    let data = list["data"].as_array().expect("a list");
    data.iter()
        .map(|object| object["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_is_read_page_by_page_in_either_direction() {
    let stripe = Stripe::start().await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.insert(0, stripe.open_session().await);
    }
    let page = async |query: &str| stripe.get(&format!("{SESSIONS}?{query}")).await.json;
    let first = page("limit=2").await;
    assert_eq!(ids(&first), sessions[..2]);
    assert_eq!(first["has_more"], true);
    let next = page(&format!("limit=3&starting_after={}", sessions[1])).await;
    assert_eq!(ids(&next), sessions[2..]);
    assert_eq!(next["has_more"], false);
    let back = page(&format!("limit=2&ending_before={}", sessions[3])).await;
    assert_eq!(ids(&back), sessions[1..3]);
    assert_eq!(back["has_more"], true);

    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("starting_after=cs_no", "starting_after"),
    ] {
        let refused = page(query).await;
        assert_eq!(refused["error"]["param"], param, "{query}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_by_fields_types_and_time() {
    let stripe = Stripe::start().await;
    let intent = stripe.pay_session().await;
    let other = stripe.open_session().await;
    let list = async |path: &str| ids(&stripe.get(path).await.json);
    let paid = list(&format!("{SESSIONS}?payment_intent={intent}")).await;
    assert_eq!(paid.len(), 1);
    assert_eq!(list(&format!("{SESSIONS}?status=open")).await, [other]);
    for (query, count) in [
        ("type=charge.succeeded", 1),
        ("type=payment_intent.*", 1),
        (
            "types[]=charge.succeeded&types[]=checkout.session.completed",
            2,
        ),
        ("type=charge_succeeded", 0),
        ("created[gt]=9999999999", 0),
        ("created[lte]=9999999999", 3),
    ] {
        let events = list(&format!("/v1/events?{query}")).await;
        assert_eq!(events.len(), count, "{query}");
    }
}

#[tokio::test]
async fn ids_expand_to_their_objects() {
    let stripe = Stripe::start().await;
    stripe.pay_session().await;
    let path = "expand[]=data.payment_intent.latest_charge&expand[]=data.line_items";
    let list = stripe.get(&format!("{SESSIONS}?{path}")).await.json;
    let session = &list["data"][0];
    assert_eq!(session["payment_intent"]["latest_charge"]["amount"], 4800);
    assert_eq!(session["line_items"]["data"][0]["description"], "Sun");
    let id = session["id"].as_str().expect("an id");
    let lines = stripe.get(&format!("{SESSIONS}/{id}/line_items")).await;
    assert_eq!(lines.json["data"], session["line_items"]["data"]);
    let wrong = stripe
        .get(&format!("{SESSIONS}/{id}?expand[]=nothing"))
        .await;
    assert_eq!(wrong.json["error"]["param"], "expand");
}
