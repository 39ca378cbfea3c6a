//! Disputes by Stripe's id, fraud warnings and reviews: told in whatever order, and nothing is shipped in silence.

mod warnings;

use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use stripe_sandbox::NewDispute;

use crate::admin::{STAFF, signed_in, staffed};
use crate::support::{Client, Leftover, Shop, card, session_of};

const DAY: i64 = 86_400;

const ALL: [Scope; 4] = [
    Scope::OrdersRead,
    Scope::OrdersWrite,
    Scope::CustomOrders,
    Scope::System,
];

/// A shop whose SB-1001 is paid, with its payment.
async fn paid() -> (Shop, String) {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 5).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    let payment = shop.payment_of(&session).await;
    (shop, payment)
}

/// An event about a dispute, as Stripe's API of 2026 has it.
fn dispute_event(n: i64, kind: &str, payment: &str, id: &str, status: &str, at: i64) -> Value {
    json!({
        "id": format!("evt_{id}_{n}"), "object": "event", "type": format!("charge.dispute.{kind}"), "created": at,
        "livemode": false, "api_version": "2026-08-26.dahlia",
        "data": {"object": {
            "id": id, "object": "dispute", "amount": 5000, "currency": "usd", "charge": "ch_case",
            "payment_intent": payment, "status": status, "reason": "fraudulent",
            "evidence_details": {"due_by": at + 7 * DAY, "has_evidence": false, "past_due": false, "submission_count": 0},
            "is_charge_refundable": false, "created": at, "livemode": false, "metadata": {},
        }},
    })
}

impl Shop {
    async fn takes(&self, event: Value) {
        let answer = self.webhook(&event).await;
        assert_eq!(answer.status, 200, "{event}: {}", answer.text);
    }

    async fn takes_all(&self) {
        for event in self.stripe.events().await.expect("the events") {
            self.takes(event).await;
        }
    }
}

async fn order_of(client: &Client) -> Value {
    client.get("/api/admin/orders/SB-1001/").await.json
}

fn kinds(order: &Value) -> Vec<&str> {
    let items = order["review_items"].as_array().expect("items");
    let mut kinds: Vec<&str> = items
        .iter()
        .filter_map(|item| item["kind"].as_str())
        .collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test]
async fn a_second_dispute_of_one_payment_is_shown_as_what_it_is() {
    for first_end in ["warning_closed", "won"] {
        let (shop, payment) = paid().await;
        let admin = shop.admin(&ALL).await;
        let t = 1_796_000_000;
        let opened = match first_end {
            "won" => "needs_response",
            _ => "warning_needs_response",
        };
        let event = |n, kind, id, status, days| {
            dispute_event(n, kind, &payment, id, status, t + days * DAY)
        };
        shop.takes(event(1, "created", "dp_first", opened, 0)).await;
        shop.takes(event(2, "closed", "dp_first", first_end, 1))
            .await;
        let order = order_of(&admin).await;
        assert_eq!(order["dispute"], first_end);
        assert_eq!(kinds(&order), [] as [&str; 0], "it went away by itself");

        shop.takes(event(3, "created", "dp_second", "needs_response", 20))
            .await;
        let order = order_of(&admin).await;
        assert_eq!(order["dispute"], "needs_response");
        assert!(order["review_items"][0]["text"].is_string());
        assert_eq!(kinds(&order), ["dispute"]);
        let told = order["timeline"].to_string();
        assert!(told.contains("The bank disputes $50.00"), "{told}");

        shop.takes(event(4, "closed", "dp_second", "lost", 60))
            .await;
        let after = order_of(&admin).await;
        assert_eq!(after["dispute"], "lost");
        assert_eq!(kinds(&after), ["dispute_lost"]);
        let states: Vec<&str> = after["disputes"]
            .as_array()
            .expect("disputes")
            .iter()
            .filter_map(|dispute| dispute["state"].as_str())
            .collect();
        assert_eq!(states, [first_end, "lost"]);

        // Late reports of the first change nothing.
        shop.takes(event(5, "updated", "dp_first", opened, 0)).await;
        let mut late = order_of(&admin).await;
        late["timeline"] = after["timeline"].clone();
        assert_eq!(late, after);
        shop.takes(event(6, "closed", "dp_first", first_end, 61))
            .await;
        let later = order_of(&admin).await;
        assert_eq!(
            (&later["dispute"], &later["timeline"]),
            (&json!("lost"), &after["timeline"])
        );
        let resolved = admin
            .get("/api/admin/review-items/?state=resolved")
            .await
            .json;
        assert_eq!(resolved["results"][0]["resolution"], "the dispute is lost");
        shop.run_jobs().await;
    }
}

#[tokio::test]
async fn a_course_told_in_any_order_ends_the_same() {
    let steps = [
        ("created", "warning_needs_response", 0),
        ("updated", "warning_under_review", 1),
        ("updated", "needs_response", 2),
        ("funds_withdrawn", "needs_response", 2),
        ("closed", "won", 3),
        ("funds_reinstated", "won", 3),
    ];
    // Each step told first, and then the others forwards or backwards.
    for first in 0..steps.len() {
        for backwards in [false, true] {
            let (shop, payment) = paid().await;
            let mut order: Vec<usize> = (0..steps.len()).filter(|at| *at != first).collect();
            if backwards {
                order.reverse();
            }
            order.insert(0, first);
            for at in order {
                let (kind, status, days) = steps[at];
                let time = 1_796_000_000 + days * DAY;
                let n = i64::try_from(at).expect("a small number");
                shop.takes(dispute_event(n, kind, &payment, "dp_1", status, time))
                    .await;
            }
            let known: (String, Option<String>) =
                sqlx::query_as("select state, funds from disputes")
                    .fetch_one(&shop.db)
                    .await
                    .expect("one dispute");
            let label = format!("step {first} first, backwards: {backwards}");
            assert_eq!(
                known,
                ("won".to_owned(), Some("reinstated".to_owned())),
                "{label}"
            );
            let admin = shop.admin(&ALL).await;
            let order = order_of(&admin).await;
            assert_eq!(
                (order["dispute"].as_str(), kinds(&order)),
                (Some("won"), vec![]),
                "{label}"
            );
        }
    }
}

#[tokio::test]
async fn a_state_that_is_new_at_stripe_is_shown_by_its_name_and_counts_as_open() {
    let (shop, payment) = paid().await;
    let admin = shop.admin(&ALL).await;
    let at = 1_796_000_000;
    let event = |n, kind, status, at| dispute_event(n, kind, &payment, "dp_1", status, at);
    shop.takes(event(1, "created", "decided_by_dice", at)).await;
    let order = order_of(&admin).await;
    assert_eq!(
        (order["dispute"].as_str(), kinds(&order)),
        (Some("decided_by_dice"), vec!["dispute"])
    );
    assert_eq!(order["disputes"][0]["state"], "decided_by_dice");
    let staff = signed_in(&shop, STAFF).await;
    let page = staff.get("/admin/orders/SB-1001").await.text;
    for part in ["Don’t ship.", "bad\">open<", "dispute: decided_by_dice"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    shop.takes(event(2, "updated", "under_review", at)).await;
    assert_eq!(order_of(&admin).await["dispute"], "under_review");
    shop.takes(event(3, "updated", "decided_by_dice", at)).await;
    assert_eq!(order_of(&admin).await["dispute"], "under_review");
}

#[tokio::test]
async fn an_inquiry_that_becomes_a_dispute_is_a_trouble_of_its_own_with_its_deadline() {
    let (shop, payment) = paid().await;
    let admin = shop.admin(&ALL).await;
    let inquiry = NewDispute {
        is_inquiry: true,
        reason: "unrecognized".to_owned(),
    };
    shop.stripe
        .dispute_as(&payment, &inquiry)
        .await
        .expect("an inquiry");
    shop.deliver().await;
    let order = order_of(&admin).await;
    assert_eq!(
        (order["dispute"].as_str(), kinds(&order)),
        (Some("warning_needs_response"), vec!["inquiry"])
    );
    assert!(order["review_items"][0]["deadline"].is_string(), "{order}");
    assert_eq!(
        order["disputes"][0]["funds"],
        Value::Null,
        "the money is here"
    );

    shop.stripe
        .escalate_dispute(&payment)
        .await
        .expect("a dispute");
    shop.deliver().await;
    let order = order_of(&admin).await;
    assert_eq!(
        (order["dispute"].as_str(), kinds(&order)),
        (Some("needs_response"), vec!["dispute"])
    );
    assert_eq!(order["disputes"].as_array().map(Vec::len), Some(1));
    assert_eq!(order["disputes"][0]["funds"], "withdrawn");
    shop.stripe
        .answer_dispute(&payment)
        .await
        .expect("an answer");
    shop.deliver().await;
    assert_eq!(order_of(&admin).await["dispute"], "under_review");
    shop.run_jobs().await;
    assert_eq!(shop.emails_of("review_item").await, 2);
    assert!(
        shop.mail().iter().any(|mail| mail
            .text
            .replace('\n', " ")
            .contains("does not recognize the payment")),
        "the reason is said in words"
    );
}

#[tokio::test]
async fn a_disputed_order_ships_only_when_that_is_confirmed() {
    let (shop, payment) = paid().await;
    let admin = shop.admin(&ALL).await;
    shop.stripe.dispute(&payment).await.expect("a dispute");
    shop.deliver().await;

    let shipment = json!({"carrier": "USPS"});
    let refused = admin
        .post("/api/admin/orders/SB-1001/ship/", &shipment)
        .await;
    assert_eq!(
        (refused.status, refused.json["code"].as_str()),
        (409, Some("confirm_shipping"))
    );
    let many = json!({"shipments": [{"order": "SB-1001", "carrier": "USPS"}]});
    let many = admin.post("/api/admin/orders/ship/", &many).await.json;
    assert_eq!(many["results"][0]["code"], "confirm_shipping");
    assert!(
        many["results"][0]["error"]
            .as_str()
            .is_some_and(|text| text.contains("SB-1001"))
    );

    let staff = signed_in(&shop, STAFF).await;
    let page = staff.get("/admin/orders/SB-1001").await.text;
    for part in [
        "Don’t ship.",
        "the customer says that the payment was not theirs",
        "Answer by",
        "/disputes/dp_",
        "name=\"ship_anyway\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let fields = [("order", "SB-1001"), ("carrier", "USPS")];
    let at = "/admin/orders/ship?order=SB-1001";
    let several = staff.submit(at, "/admin/orders/ship", &fields).await;
    assert_eq!(several.status, 409);
    assert!(
        several.text.contains("SB-1001 should not be shipped"),
        "{}",
        several.text
    );
    // The page as it was before the dispute came: no box was ticked.
    let path = "/admin/orders/SB-1001/ship";
    let unticked = staff
        .submit("/admin/orders/SB-1001", path, &[("carrier", "USPS")])
        .await;
    assert_eq!(unticked.status, 400, "{}", unticked.text);
    assert!(
        unticked.text.contains("should not be shipped"),
        "{}",
        unticked.text
    );
    assert_eq!(shop.statuses().await, ["paid"]);
    let ticked = [("carrier", "USPS"), ("ship_anyway", "true")];
    let shipped = staff.submit("/admin/orders/SB-1001", path, &ticked).await;
    assert_eq!(shipped.status, 303, "{}", shipped.text);
    assert_eq!(shop.statuses().await, ["shipped"]);
    let told = order_of(&admin).await["timeline"].to_string();
    assert!(
        told.contains("confirmed although the bank disputes"),
        "{told}"
    );
}

#[tokio::test]
async fn a_lost_dispute_is_said_and_what_it_was_for_is_shipped_only_when_that_is_confirmed() {
    let (shop, payment) = paid().await;
    let admin = shop.admin(&ALL).await;
    shop.stripe.dispute(&payment).await.expect("a dispute");
    shop.deliver().await;
    shop.stripe
        .close_dispute(&payment, false)
        .await
        .expect("a decision");
    shop.deliver().await;
    shop.run_jobs().await;
    let order = order_of(&admin).await;
    assert_eq!(
        (order["dispute"].as_str(), kinds(&order)),
        (Some("lost"), vec!["dispute_lost"])
    );
    let text = order["review_items"][0]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(text.contains("the customer keeps the money"), "{text}");
    assert_eq!(shop.emails_of("review_item").await, 2);
    let mail = shop.mail();
    let told = mail
        .iter()
        .any(|mail| mail.subject.contains("A dispute was lost"));
    assert!(
        told,
        "{:?}",
        mail.iter().map(|mail| &mail.subject).collect::<Vec<_>>()
    );

    let path = "/api/admin/orders/SB-1001/ship/";
    let refused = admin.post(path, &json!({"carrier": "USPS"})).await;
    assert_eq!(
        (refused.status, refused.json["code"].as_str()),
        (409, Some("confirm_shipping")),
        "{}",
        refused.text
    );
    let confirmed = json!({"carrier": "USPS", "ship_anyway": true});
    assert_eq!(admin.post(path, &confirmed).await.status, 200);
    shop.run_jobs().await;
    shop.audit().await;
}

#[tokio::test]
async fn disputes_heard_of_before_the_payment_find_their_order() {
    let shop = Shop::open().await;
    let piece = shop.stocks("Sunrise", 1).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    let payment = shop.payment_of(&session).await;
    shop.stripe
        .warn_of_fraud(&payment)
        .await
        .expect("a warning");
    shop.stripe.dispute(&payment).await.expect("a dispute");
    shop.stripe.open_review(&payment).await.expect("a review");
    let admin = shop.admin(&ALL).await;
    for event in shop
        .stripe
        .events()
        .await
        .expect("the events")
        .into_iter()
        .rev()
    {
        shop.takes(event).await;
    }
    let order = order_of(&admin).await;
    assert_eq!(order["dispute"], "needs_response");
    assert_eq!(
        kinds(&order),
        ["dispute", "fraud_warning", "payment_review"]
    );
    let items = order["review_items"].to_string();
    assert!(
        !items.contains("does not know") && !items.contains(&payment),
        "it is known by now: {items}"
    );
    assert!(
        items.contains("A payment is disputed by the bank"),
        "{items}"
    );
    // Another's payment is the shop's to look at, too.
    shop.takes(dispute_event(
        1,
        "created",
        "pi_other",
        "dp_other",
        "needs_response",
        1_796_000_000,
    ))
    .await;
    let items = admin.get("/api/admin/review-items/").await.json;
    let other = items["results"]
        .as_array()
        .expect("items")
        .iter()
        .find(|item| item["order_id"].is_null());
    let other = other.unwrap_or_else(|| panic!("{items}"));
    assert!(
        other["text"]
            .as_str()
            .is_some_and(|text| text.contains("pi_other"))
    );
}

#[tokio::test]
async fn disputes_of_custom_orders_and_of_refused_payments_are_shown_there() {
    let shop = Shop::open().await;
    shop.leaves(Leftover::UnsettledMoney);
    let admin = shop.admin(&ALL).await;
    shop.asks_for_a_piece("ann@example.com").await;
    let quote = json!({"amount": 14_500, "description": "A case."});
    let quoted = admin
        .post("/api/admin/custom-orders/CO-1001/requote/", &quote)
        .await;
    assert!(quoted.status < 300, "{}", quoted.text);
    shop.run_jobs().await;
    let view = admin.get("/api/admin/custom-orders/CO-1001/").await.json;
    let link = view["quotes"][0]["payment_link_id"]
        .as_str()
        .expect("a link");
    let session = shop.stripe.open_link(link).await.expect("a page");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.stripe
        .dispute(&shop.payment_of(&session).await)
        .await
        .expect("a dispute");
    shop.deliver().await;
    let view = admin.get("/api/admin/custom-orders/CO-1001/").await.json;
    assert_eq!(kinds(&view), ["dispute"]);
    assert_eq!(view["disputes"][0]["state"], "needs_response");
    assert!(view["timeline"].to_string().contains("The bank disputes"));
    let path = "/api/admin/custom-orders/CO-1001/ship/";
    let refused = admin.post(path, &json!({"carrier": "USPS"})).await;
    assert_eq!(
        (refused.status, refused.json["code"].as_str()),
        (409, Some("confirm_shipping"))
    );
    let confirmed = json!({"carrier": "USPS", "ship_anyway": true});
    assert_eq!(admin.post(path, &confirmed).await.status, 200);

    // A payment that came too late is refused, and then disputed.
    let piece = shop.stocks("Sunrise", 1).await;
    let late = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&late, card()).await.expect("a payment");
    sqlx::query(
        "update orders set total = total + 100, subtotal = subtotal + 100 where status = 'pending'",
    )
    .execute(&shop.db)
    .await
    .expect("another amount");
    shop.deliver().await;
    let payment = shop.payment_of(&late).await;
    shop.stripe.dispute(&payment).await.expect("a dispute");
    shop.deliver().await;
    let order = admin.get("/api/admin/orders/SB-1002/").await.json;
    assert_eq!(
        (order["status"].as_str(), order["dispute"].as_str()),
        (Some("failed"), Some("needs_response"))
    );
    assert_eq!(kinds(&order), ["dispute", "payment_refused"]);
}
