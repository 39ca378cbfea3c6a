//! Pieces made to order: from the request over the quote and its payment link to the shipment. P2, P3, P4 and P6, attacked.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use stripe_sandbox::{Fault, Payment};

use crate::support::images::jpeg;
use crate::support::{Answer, Client, Shop, at_once, card, delayed};

const LINKS: &str = "POST /v1/payment_links";
const CLOSING: &str = "POST /v1/payment_links/{id}";

/// A shop with one request in it, and its user.
struct Workshop {
    shop: Shop,
    admin: Client,
    id: String,
}

impl Workshop {
    async fn open() -> Workshop {
        let shop = Shop::open().await;
        let admin = shop.admin(&[Scope::CustomOrders]).await;
        let id = shop.asks_for_a_piece("ann@example.com").await;
        Workshop { shop, admin, id }
    }

    /// A workshop whose request is quoted for 90 dollars and 5 for the shipment, and approved. Returns the link, too.
    async fn quoted() -> (Workshop, String) {
        let workshop = Workshop::open().await;
        let link = workshop.quotes(9000).await;
        (workshop, link)
    }

    /// Quotes, approves, and returns the link that the customer is sent.
    async fn quotes(&self, amount: i64) -> String {
        let quoted = self.put("quote", &quote(amount)).await;
        assert_eq!(quoted.status, 200, "{}", quoted.text);
        assert_eq!(self.post("approve").await.status, 202);
        self.shop.run_jobs().await;
        let view = self.view().await;
        assert_eq!(view["status"], "approved", "{view:#}");
        text(&current(&view)["payment_link_id"])
    }

    async fn view(&self) -> Value {
        let answer = self.admin.get(&self.path("")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json
    }

    async fn status(&self) -> String {
        text(&self.view().await["status"])
    }

    fn path(&self, tail: &str) -> String {
        format!("/api/admin/custom-orders/{}/{tail}", self.id)
    }

    async fn post(&self, what: &str) -> Answer {
        self.admin
            .send(Method::POST, &self.path(what), &[], None::<String>)
            .await
    }

    async fn post_with(&self, what: &str, body: &Value) -> Answer {
        self.admin.post(&self.path(what), body).await
    }

    async fn put(&self, what: &str, body: &Value) -> Answer {
        self.admin
            .send_json(Method::PUT, &self.path(what), body)
            .await
    }

    /// The customer opens the link's page; returns its session.
    async fn opens(&self, link: &str) -> String {
        self.shop.stripe.open_link(link).await.expect("a page")
    }

    /// The customer opens the link and pays.
    async fn pays(&self, link: &str, how: Payment) -> String {
        let session = self.opens(link).await;
        self.shop
            .stripe
            .pay(&session, how)
            .await
            .expect("a payment");
        session
    }

    /// The link as Stripe has it.
    async fn is_active(&self, link: &str) -> bool {
        let links = self.shop.at_stripe("payment_link").await;
        let found = links.iter().find(|object| object["id"] == link);
        found.expect("the link")["active"] == true
    }

    /// What the timeline has of a request's moves.
    async fn moves(&self) -> Vec<String> {
        let view = self.view().await;
        let timeline = view["timeline"].as_array().expect("a timeline");
        timeline
            .iter()
            .filter(|entry| entry["kind"] == "status")
            .map(|entry| {
                format!(
                    "{}→{}",
                    text(&entry["from_status"]),
                    text(&entry["to_status"])
                )
            })
            .collect()
    }

    async fn emails(&self, kind: &str) -> i64 {
        self.shop.emails_of(kind).await
    }
}

fn quote(amount: i64) -> Value {
    json!({"amount": amount, "description": "One Classic case, loomed, blue and gold"})
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// The quote of a request that counts.
fn current(view: &Value) -> &Value {
    let quotes = view["quotes"].as_array().expect("quotes");
    let counts = |quote: &&Value| {
        ["asking", "live", "closing", "paid"].contains(&quote["state"].as_str().unwrap_or_default())
    };
    let found = quotes.iter().find(counts);
    found.unwrap_or_else(|| panic!("no quote counts: {view:#}"))
}

#[tokio::test]
async fn a_piece_goes_from_request_to_shipment() {
    let (workshop, link) = Workshop::quoted().await;
    let live = workshop.view().await;
    assert_eq!(current(&live)["state"], "live");
    assert_eq!(current(&live)["shipping"], 500);

    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let paid = workshop.view().await;
    assert_eq!(paid["status"], "paid");
    assert_eq!(current(&paid)["state"], "paid");
    assert_eq!(paid["order"]["status"], "paid");
    assert_eq!(paid["order"]["is_custom_order"], true);
    assert_eq!(paid["order"]["channel"], "custom_order");
    assert_eq!(paid["order"]["total"], 9500);
    assert_eq!(paid["order"]["subtotal"], 9000);
    assert_eq!(paid["order"]["shipping_address"]["city"], "Portland");
    assert!(!workshop.is_active(&link).await, "a link takes one payment");

    assert_eq!(workshop.post("start").await.status, 200);
    let finished = workshop.shop.keeps(&jpeg(90, 60)).await;
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400 1000", "images": [finished]});
    let shipped = workshop.post_with("ship", &shipment).await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);
    assert_eq!(shipped.json["order"]["status"], "shipped");
    assert_eq!(
        shipped.json["shipment"]["tracking_url"],
        "https://tools.usps.com/go/TrackConfirmAction?tLabels=94001000"
    );
    assert_eq!(shipped.json["shipment_images"][0]["width"], 90);
    let page = workshop.shop.status_page(&workshop.id);
    let page = workshop.shop.client.get(&page).await;
    assert!(text(&page.json["images"][0]["url"]).contains(&finished));
    let completed = workshop.post("complete").await;
    assert_eq!(completed.json["status"], "completed");
    assert_eq!(completed.json["order"]["status"], "delivered");
    assert_eq!(
        workshop.moves().await,
        [
            "pending→approved",
            "approved→paid",
            "paid→in_production",
            "in_production→shipped",
            "shipped→completed"
        ]
    );
    workshop.shop.run_jobs().await;
    for kind in [
        "new_custom_order",
        "custom_order_received",
        "custom_order_approved",
        "payment_received",
        "custom_order_shipped",
    ] {
        assert_eq!(workshop.emails(kind).await, 1, "{kind}");
    }
    let mail = workshop.shop.mail();
    let shipped = mail.iter().find(|mail| mail.subject.contains("Shipped"));
    let shipped = shipped.expect("the email");
    assert_eq!(shipped.to, ["ann@example.com"]);
    assert_eq!(shipped.inside.len(), 1, "the photo is inside");
    workshop.shop.audit().await;
}

#[tokio::test]
async fn fifty_approvals_at_once_make_one_link_and_one_email() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    let path = workshop.path("approve");
    let answers = at_once((0..50).map(|_| {
        let (admin, path) = (workshop.admin.clone(), path.clone());
        async move {
            admin
                .send(Method::POST, &path, &[], None::<String>)
                .await
                .status
        }
    }))
    .await;
    assert_eq!(answers, vec![202; 50]);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.post("approve").await.status, 200, "safe to repeat");
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 1);
    assert_eq!(workshop.emails("custom_order_approved").await, 1);
    assert_eq!(workshop.moves().await, ["pending→approved"]);
}

#[tokio::test]
async fn a_webhook_repeated_fifty_times_makes_one_order() {
    let (workshop, link) = Workshop::quoted().await;
    workshop.pays(&link, card()).await;
    let event = workshop.shop.event("checkout.session.completed").await;
    let payload = event.to_string();
    let signature = workshop.shop.stripe.sign(&payload);
    let statuses = at_once((0..50).map(|_| {
        let (client, payload) = (workshop.shop.client.clone(), payload.clone());
        let signature = signature.clone();
        async move {
            let headers = [("stripe-signature", signature.as_str())];
            let path = "/api/payments/webhook/";
            client
                .send(Method::POST, path, &headers, Some(payload))
                .await
                .status
        }
    }))
    .await;
    assert_eq!(statuses, vec![200; 50]);
    workshop.shop.run_jobs().await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.shop.statuses().await, ["paid"]);
    assert_eq!(
        workshop.moves().await,
        ["pending→approved", "approved→paid"]
    );
    assert_eq!(workshop.emails("payment_received").await, 1);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_crash_between_making_a_link_and_recording_it_leaves_one_link() {
    for fault in [
        Fault::ActThenDrop,
        Fault::ActThenServerError,
        Fault::ActThenHang,
    ] {
        let workshop = Workshop::open().await;
        assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
        assert_eq!(workshop.post("approve").await.status, 202);
        // Every try of the first run is answered by nothing, and the search for what it made fails as well: as if the
        // worker had died.
        workshop.shop.stripe.fail_next(LINKS, fault, 3);
        workshop
            .shop
            .stripe
            .fail_next("GET /v1/payment_links", Fault::ServerError, 9);
        let left = workshop.shop.run_failing_jobs().await;
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(workshop.status().await, "pending");

        workshop.shop.stripe.clear_faults();
        workshop.shop.hurry_jobs().await;
        workshop.shop.run_jobs().await;
        assert_eq!(workshop.status().await, "approved");
        assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 1);
        assert_eq!(workshop.emails("custom_order_approved").await, 1);
    }
}

#[tokio::test]
async fn a_link_whose_answer_was_lost_for_longer_than_stripe_knows_its_key_is_found() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(workshop.post("approve").await.status, 202);
    let stripe = &workshop.shop.stripe;
    stripe.fail_next(LINKS, Fault::ActThenDrop, 3);
    stripe.fail_next("GET /v1/payment_links", Fault::ServerError, 9);
    assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);

    stripe.clear_faults();
    workshop.shop.wait(Duration::from_secs(25 * 3600)).await;
    workshop.shop.hurry_jobs().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
    assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 1);
}

#[tokio::test]
async fn a_quote_that_was_drafted_days_ago_gets_its_link_without_a_search() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    workshop.shop.wait(Duration::from_secs(72 * 3600)).await;
    // Stripe's list may be longer than we look through.
    let stripe = &workshop.shop.stripe;
    stripe.fail_next("GET /v1/payment_links", Fault::ServerError, 9);
    assert_eq!(workshop.post("approve").await.status, 202);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
    let asked = stripe.requests();
    assert!(
        asked
            .iter()
            .all(|asked| asked.operation != "GET /v1/payment_links")
    );
}

#[tokio::test]
async fn a_refusal_that_is_sent_twice_is_written_down_once() {
    let workshop = Workshop::open().await;
    for reason in ["Too busy.", "Another reason."] {
        let answer = workshop
            .post_with("reject", &json!({"reason": reason}))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let log = crate::admin::audited(&workshop.shop).await;
    let reasons: Vec<_> = log
        .iter()
        .filter(|entry| entry.1 == "custom_order.reject")
        .map(|entry| entry.4.as_ref().expect("what is so now")["reason"].clone())
        .collect();
    assert_eq!(reasons, ["Too busy."]);
}

#[tokio::test]
async fn a_link_that_could_not_be_looked_for_is_not_made_under_another_key() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(workshop.post("approve").await.status, 202);
    let stripe = &workshop.shop.stripe;
    for _ in 0..4 {
        stripe.fail_next(LINKS, Fault::ActThenDrop, 3);
        stripe.fail_next("GET /v1/payment_links", Fault::BadGateway, 3);
        assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);
        stripe.clear_faults();
        workshop.shop.hurry_jobs().await;
    }
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
    assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 1);
}

#[tokio::test]
async fn a_failure_that_stripe_keeps_under_a_key_does_not_hold_a_quote_for_a_day() {
    let workshop = Workshop::open().await;
    // Nor in a shop that has made many links before.
    sqlx::query(
        "insert into stripe_sandbox.objects (id, object, created, data)
         select id, 'payment_link', 0,
                jsonb_build_object('id', id, 'object', 'payment_link', 'active', false,
                                   'url', 'https://buy.stripe.com/' || id, 'metadata', '{}'::jsonb)
         from (select 'plink_old' || n from generate_series(1, 700) as n) as old (id)",
    )
    .execute(&workshop.shop.db)
    .await
    .expect("many links");
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(workshop.post("approve").await.status, 202);
    // Nothing is done, and the answer is repeated under its key from now on.
    workshop.shop.stripe.fail_next(LINKS, Fault::ServerError, 1);
    for _ in 0..4 {
        workshop.shop.run_failing_jobs().await;
        workshop.shop.hurry_jobs().await;
    }
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
    assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 701);
}

#[tokio::test]
async fn an_outage_of_stripe_delays_an_approval_and_loses_nothing() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    workshop.shop.stripe.fail_next(LINKS, Fault::RateLimited, 3);
    let planned = workshop.post("approve").await;
    assert_eq!(planned.status, 202);
    assert_eq!(current(&planned.json)["state"], "asking");
    assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);
    let waiting = workshop.view().await;
    assert!(current(&waiting)["last_error"].is_string(), "{waiting:#}");
    workshop.shop.hurry_jobs().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
}

#[tokio::test]
async fn a_link_that_stripe_refuses_is_shown_and_can_be_quoted_again() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    let refusal = Fault::Refused {
        code: "parameter_invalid".to_owned(),
        message: "No".to_owned(),
        param: None,
    };
    workshop.shop.stripe.fail_next(LINKS, refusal, 1);
    assert_eq!(workshop.post("approve").await.status, 202);
    workshop.shop.run_jobs().await;
    let view = workshop.view().await;
    assert_eq!(view["status"], "pending");
    assert_eq!(view["quotes"][0]["state"], "refused");
    assert!(text(&view["review_items"][0]["text"]).contains("parameter_invalid"));
    workshop.quotes(8000).await;
    let seen_to = workshop.post("resolve").await;
    assert_eq!(seen_to.status, 200);
    assert_eq!(seen_to.json["review_items"][0]["text"], Value::Null);
    assert_eq!(workshop.post("resolve").await.status, 200, "safe to repeat");
}

#[tokio::test]
async fn a_new_quote_closes_the_old_link_first() {
    let (workshop, old) = Workshop::quoted().await;
    let waiting = workshop.opens(&old).await;
    let planned = workshop.post_with("requote", &quote(12_000)).await;
    assert_eq!(planned.status, 202, "{}", planned.text);
    workshop.shop.run_jobs().await;
    assert!(!workshop.is_active(&old).await);
    assert_eq!(workshop.shop.session(&waiting).await["status"], "expired");
    let view = workshop.view().await;
    assert_eq!(view["status"], "approved");
    let new = text(&current(&view)["payment_link_id"]);
    assert_ne!(new, old);
    assert_eq!(current(&view)["amount"], 12_000);
    assert_eq!(workshop.emails("custom_order_approved").await, 2);
    assert!(workshop.shop.stripe.open_link(&old).await.is_err());
    assert!(workshop.shop.stripe.pay(&waiting, card()).await.is_err());

    workshop.pays(&new, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.view().await["order"]["total"], 12_500);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_quote_is_not_replaced_while_stripe_cannot_close_its_link() {
    let (workshop, old) = Workshop::quoted().await;
    workshop
        .shop
        .stripe
        .fail_next(CLOSING, Fault::RateLimited, 3);
    assert_eq!(
        workshop.post_with("requote", &quote(12_000)).await.status,
        202
    );
    assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);
    let view = workshop.view().await;
    assert_eq!(current(&view)["payment_link_id"], old.as_str());
    assert_eq!(current(&view)["state"], "closing");
    let changed = workshop.put("quote", &quote(1)).await;
    assert_eq!(changed.field_errors(), ["amount"]);
    let changed = workshop.put("quote", &quote(1000)).await;
    assert_eq!(changed.json["code"], "quote_closing");
    for what in ["requote", "withdraw", "approve"] {
        let body = if what == "requote" {
            quote(1000)
        } else {
            json!({})
        };
        let refused = workshop.post_with(what, &body).await;
        assert_eq!(refused.status, 409, "{what}");
        assert_eq!(refused.json["code"], "quote_closing", "{what}");
    }
    workshop.shop.hurry_jobs().await;
    workshop.shop.run_jobs().await;
    assert_eq!(current(&workshop.view().await)["amount"], 12_000);
    assert!(!workshop.is_active(&old).await);
}

#[tokio::test]
async fn a_withdrawn_quote_cannot_be_paid() {
    let (workshop, link) = Workshop::quoted().await;
    let waiting = workshop.opens(&link).await;
    let reason = json!({"reason": "The beads are sold out for good."});
    assert_eq!(workshop.post_with("withdraw", &reason).await.status, 202);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "pending");
    assert!(!workshop.is_active(&link).await);
    assert!(workshop.shop.stripe.pay(&waiting, card()).await.is_err());
    assert_eq!(
        workshop.post_with("withdraw", &reason).await.status,
        200,
        "safe to repeat"
    );
    workshop.shop.run_jobs().await;
    assert_eq!(
        workshop.moves().await,
        ["pending→approved", "approved→pending"]
    );
}

#[tokio::test]
async fn a_withdrawn_quote_is_told_and_another_may_follow_or_a_no() {
    for reason in ["The beads are sold out.", ""] {
        let (workshop, _) = Workshop::quoted().await;
        let body = json!({ "reason": reason });
        assert_eq!(workshop.post_with("withdraw", &body).await.status, 202);
        workshop.shop.run_jobs().await;
        // With a reason or without, the customer hears of it, and nothing says that we cannot make the piece.
        assert_eq!(workshop.emails("quote_withdrawn").await, 1);
        assert_eq!(workshop.emails("custom_order_rejected").await, 0);
        let mail = workshop.shop.mail();
        let told = mail.iter().rfind(|mail| mail.subject.contains("Quote"));
        let told = &told.expect("an email").text;
        assert!(told.contains("taken back the quote") && told.contains(reason));
        let page = workshop.shop.status_page(&workshop.id);
        let page = workshop.shop.client.get(&page).await.json;
        assert_eq!(
            (&page["status"], &page["quote"]),
            (&json!("pending"), &Value::Null)
        );
        assert_eq!(
            page["message"],
            "We have taken our quote back. You will hear from us again soon."
        );
        match reason {
            "" => {
                let no = json!({"reason": "We cannot make it after all."});
                assert_eq!(workshop.post_with("reject", &no).await.status, 200);
                workshop.shop.run_jobs().await;
                assert_eq!(workshop.status().await, "rejected");
                assert_eq!(workshop.emails("custom_order_rejected").await, 1);
            }
            _ => {
                let link = workshop.quotes(7000).await;
                assert_eq!(workshop.status().await, "approved");
                workshop.pays(&link, card()).await;
                workshop.shop.deliver().await;
                workshop.shop.run_jobs().await;
                assert_eq!(workshop.status().await, "paid");
            }
        }
        workshop.shop.audit().await;
    }
}

#[tokio::test]
async fn a_request_with_a_quote_is_rejected_once_its_link_is_closed() {
    let (workshop, link) = Workshop::quoted().await;
    let reason = json!({"reason": "The beads are sold out for good."});
    assert_eq!(workshop.post_with("reject", &reason).await.status, 202);
    let meanwhile = workshop.post_with("reject", &reason).await;
    assert_eq!(meanwhile.json["code"], "quote_closing");
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "rejected");
    assert!(!workshop.is_active(&link).await);
    assert_eq!(
        workshop.moves().await,
        ["pending→approved", "approved→pending", "pending→rejected"]
    );
    assert_eq!(workshop.post_with("reject", &reason).await.status, 200);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.emails("custom_order_rejected").await, 1);
    assert_eq!(workshop.emails("quote_withdrawn").await, 0);
}

#[tokio::test]
async fn a_payment_that_is_faster_than_the_withdrawal_stands() {
    let (workshop, link) = Workshop::quoted().await;
    workshop.pays(&link, card()).await;
    assert_eq!(workshop.post_with("withdraw", &json!({})).await.status, 202);
    workshop.shop.run_jobs().await;
    let view = workshop.view().await;
    assert_eq!(view["status"], "approved", "the payment decides");
    assert!(text(&view["review_items"][0]["text"]).contains("the quote stays"));
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "paid");
    assert_eq!(workshop.emails("custom_order_rejected").await, 0);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn withdrawals_and_payments_at_once_end_in_an_order_or_in_none() {
    for round in 0..8 {
        let (workshop, link) = Workshop::quoted().await;
        let session = workshop.opens(&link).await;
        assert_eq!(workshop.post_with("withdraw", &json!({})).await.status, 202);
        let stripe = workshop.shop.stripe.clone();
        let paying = tokio::spawn(async move { stripe.pay(&session, card()).await.is_ok() });
        if round % 2 == 0 {
            workshop.shop.run_failing_jobs().await;
        }
        let paid = paying.await.expect("no panic");
        workshop.shop.run_jobs().await;
        workshop.shop.deliver().await;
        workshop.shop.run_jobs().await;
        let status = workshop.status().await;
        assert_eq!(
            status,
            if paid { "paid" } else { "pending" },
            "round {round}"
        );
        workshop.shop.audit().await;
    }
}

#[tokio::test]
async fn a_payment_on_a_closed_quote_is_given_back_in_full() {
    let (workshop, link) = Workshop::quoted().await;
    let session = workshop.pays(&link, card()).await;
    // Closed meanwhile, whatever the reason: the payment comes too late.
    for sql in [
        "update custom_order_quotes set state = 'closed'",
        "update custom_orders set status = 'expired'",
    ] {
        sqlx::query(sql)
            .execute(&workshop.shop.db)
            .await
            .expect("a change");
    }
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let payment = workshop.shop.payment_of(&session).await;
    let refunds = workshop.shop.at_stripe("refund").await;
    assert_eq!(refunds.len(), 1);
    assert_eq!(refunds[0]["payment_intent"], payment.as_str());
    assert_eq!(refunds[0]["amount"], 9500);
    let view = workshop.view().await;
    assert_eq!(view["status"], "expired");
    assert!(text(&view["review_items"][0]["text"]).contains("given back in full"));
    assert!(workshop.shop.statuses().await.is_empty());
    assert_eq!(workshop.emails("could_not_fulfill").await, 1);
    assert_eq!(workshop.emails("could_not_fulfill_notice").await, 1);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_second_payment_is_impossible_or_given_back() {
    let (workshop, link) = Workshop::quoted().await;
    let (first, second) = (workshop.opens(&link).await, workshop.opens(&link).await);
    workshop
        .shop
        .stripe
        .pay(&first, card())
        .await
        .expect("a payment");
    assert!(workshop.shop.stripe.pay(&second, card()).await.is_err());
    assert!(workshop.shop.stripe.open_link(&link).await.is_err());
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;

    // Should Stripe take one all the same, it is given back.
    let mut event = workshop.shop.event("checkout.session.completed").await;
    event["id"] = json!("evt_second");
    event["data"]["object"]["id"] = json!("cs_second");
    event["data"]["object"]["payment_intent"] = json!("pi_second");
    assert_eq!(workshop.shop.webhook(&event).await.status, 200);
    let planned: Vec<(String, i64)> =
        sqlx::query_as("select payment_id, amount from refunds where state = 'planned'")
            .fetch_all(&workshop.shop.db)
            .await
            .expect("the refunds");
    assert_eq!(planned, [("pi_second".to_owned(), 9500)]);
    assert_eq!(workshop.shop.statuses().await, ["paid"]);
    // Stripe does not know this payment, so the refund fails: the owner is told where they look.
    workshop.shop.run_jobs().await;
    assert!(text(&workshop.view().await["review_items"][0]["text"]).contains("by hand"));
}

#[tokio::test]
async fn a_payment_of_another_amount_is_given_back_and_the_quote_is_closed() {
    let (workshop, link) = Workshop::quoted().await;
    sqlx::query("update custom_order_quotes set amount = amount + 100")
        .execute(&workshop.shop.db)
        .await
        .expect("a change");
    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let view = workshop.view().await;
    assert_eq!(view["status"], "expired");
    assert_eq!(workshop.shop.at_stripe("refund").await[0]["amount"], 9500);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_quote_lapses_and_another_may_follow() {
    let (workshop, link) = Workshop::quoted().await;
    let waiting = workshop.opens(&link).await;
    workshop.shop.sweep_all().await;
    assert_eq!(
        workshop.status().await,
        "approved",
        "it holds for two weeks"
    );
    workshop
        .shop
        .wait(Duration::from_secs(15 * 24 * 3600))
        .await;
    workshop.shop.sweep_all().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "expired");
    assert!(!workshop.is_active(&link).await);
    assert!(workshop.shop.stripe.pay(&waiting, card()).await.is_err());
    assert_eq!(workshop.post("approve").await.json["code"], "no_quote");

    let again = workshop.quotes(8500).await;
    workshop.pays(&again, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(
        workshop.moves().await,
        [
            "pending→approved",
            "approved→expired",
            "expired→approved",
            "approved→paid"
        ]
    );
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_delayed_payment_keeps_its_quote_until_it_is_decided() {
    for succeeds in [true, false] {
        let (workshop, link) = Workshop::quoted().await;
        let session = workshop.pays(&link, delayed()).await;
        workshop.shop.deliver().await;
        workshop.shop.run_jobs().await;
        assert_eq!(workshop.status().await, "approved");
        workshop
            .shop
            .wait(Duration::from_secs(15 * 24 * 3600))
            .await;
        workshop.shop.sweep_all().await;
        workshop.shop.run_jobs().await;
        assert_eq!(
            workshop.status().await,
            "approved",
            "it does not lapse meanwhile"
        );
        let refused = workshop.post_with("withdraw", &json!({})).await;
        assert_eq!(refused.json["code"], "payment_in_progress");

        let settled = workshop
            .shop
            .stripe
            .settle_delayed(&session, succeeds)
            .await;
        settled.expect("a decision");
        workshop.shop.deliver().await;
        workshop.shop.run_jobs().await;
        let view = workshop.view().await;
        if succeeds {
            assert_eq!(view["status"], "paid");
        } else {
            assert_eq!(view["status"], "expired");
            assert!(text(&view["review_items"][0]["text"]).contains("delayed payment failed"));
            workshop.quotes(9000).await;
        }
        workshop.shop.audit().await;
    }
}

#[tokio::test]
async fn reconciliation_finds_the_payment_of_a_quote_whose_webhook_never_came() {
    let (workshop, link) = Workshop::quoted().await;
    workshop.pays(&link, card()).await;
    workshop.shop.reconcile().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "paid");
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_refund_of_a_custom_order_is_its_order_s_like_any_other() {
    let (workshop, link) = Workshop::quoted().await;
    let session = workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let payment = workshop.shop.payment_of(&session).await;
    workshop
        .shop
        .stripe
        .refund(&payment, None)
        .await
        .expect("a refund");
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let view = workshop.view().await;
    assert_eq!(view["order"]["status"], "refunded");
    assert_eq!(view["status"], "refunded");
    let page = workshop.shop.status_page(&workshop.id);
    let page = workshop.shop.client.get(&page).await;
    assert_eq!(
        page.json["message"],
        "Your payment was given back to you in full."
    );
    let shipment = json!({"carrier": "USPS"});
    let refused = workshop.post_with("ship", &shipment).await;
    assert_eq!(
        (refused.status, &refused.json["code"]),
        (409, &json!("not_shippable"))
    );
    for (what, code) in [("start", "not_paid"), ("complete", "not_shipped")] {
        let refused = workshop.post(what).await;
        assert_eq!((refused.status, &refused.json["code"]), (409, &json!(code)));
    }
    assert_eq!(
        workshop.moves().await,
        ["pending→approved", "approved→paid", "paid→refunded"]
    );
    assert_eq!(workshop.emails("order_refunded").await, 1);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_refund_in_full_ends_a_piece_wherever_it_stands() {
    let steps = ["start", "ship", "complete"];
    for done in 0..=steps.len() {
        let (workshop, link) = Workshop::quoted().await;
        let shop = &workshop.shop;
        workshop.pays(&link, card()).await;
        shop.deliver().await;
        for step in &steps[..done] {
            let body = match *step {
                "ship" => json!({"carrier": "USPS"}),
                _ => json!({}),
            };
            let answer = workshop.post_with(step, &body).await;
            assert_eq!(answer.status, 200, "{step}: {}", answer.text);
        }
        let admin = shop
            .admin(&[Scope::Refunds, Scope::CustomOrders, Scope::OrdersRead])
            .await;
        let order = text(&workshop.view().await["order"]["number"]);
        let path = format!("/api/admin/orders/{order}/refund/");
        assert_eq!(admin.post(&path, &json!({})).await.status, 202);
        // Planned, and Stripe has not heard of it: nothing is begun or sent.
        if done < 2 {
            let shipment = json!({"carrier": "USPS"});
            for (what, body) in [("start", json!({})), ("ship", shipment)] {
                let refused = workshop.post_with(what, &body).await;
                let is_repeat = done == 1 && what == "start";
                assert_eq!(refused.status, if is_repeat { 200 } else { 409 });
                if !is_repeat {
                    assert_eq!(refused.json["code"], "refunded_in_full", "{what}");
                }
            }
        }
        shop.run_jobs().await;
        shop.deliver().await;
        shop.run_jobs().await;
        assert_eq!(workshop.status().await, "refunded", "after {done} steps");
        let board = admin.get("/api/admin/custom-orders/board/").await.json;
        let columns = board["columns"].as_array().expect("columns").iter();
        let going_on: i64 = columns.filter_map(|column| column["count"].as_i64()).sum();
        assert_eq!(going_on, 0, "{board}");
        let today = admin.get("/api/admin/dashboard/").await.json;
        assert_eq!(today["to_do"]["custom_orders_to_make"], 0);
        assert_eq!(today["to_do"]["orders_to_pack"], 0);
        let page = shop.client.get(&shop.status_page(&workshop.id)).await.json;
        assert_eq!(page["status"], "refunded");
        assert_eq!(
            page["message"],
            "Your payment was given back to you in full."
        );
        for what in steps {
            let body = match what {
                "ship" => json!({"carrier": "USPS"}),
                _ => json!({}),
            };
            assert_eq!(workshop.post_with(what, &body).await.status, 409, "{what}");
        }
        shop.audit().await;
    }
}

#[tokio::test]
async fn a_piece_whose_refund_in_full_failed_is_where_it_was() {
    let states = ["paid", "in_production", "shipped", "completed"];
    let steps = ["start", "ship", "complete"];
    let body = |step: &str| match step {
        "ship" => json!({"carrier": "USPS", "ship_anyway": true}),
        _ => json!({}),
    };
    for (done, state) in states.into_iter().enumerate() {
        let (workshop, link) = Workshop::quoted().await;
        let shop = &workshop.shop;
        let session = workshop.pays(&link, card()).await;
        shop.deliver().await;
        for step in steps[..done].iter().copied() {
            let answer = workshop.post_with(step, &body(step)).await;
            assert_eq!(answer.status, 200, "{step}: {}", answer.text);
        }
        let payment = shop.payment_of(&session).await;
        let refund = shop.stripe.refund(&payment, None).await.expect("a refund");
        shop.settles().await;
        assert_eq!(workshop.status().await, "refunded");
        shop.stripe.fail_refund(&refund).await.expect("a failure");
        shop.settles().await;
        let view = workshop.view().await;
        assert_eq!(
            (&view["status"], &view["order"]["refunded"]),
            (&json!(state), &json!(0))
        );
        assert_eq!(view["review_items"][0]["kind"], "refund_failed");
        if done < 3 {
            let board = workshop
                .admin
                .get("/api/admin/custom-orders/board/")
                .await
                .json;
            let columns = board["columns"].as_array().expect("columns");
            let column = columns.iter().find(|column| column["status"] == state);
            assert_eq!(column.expect("its column")["count"], 1, "{board}");
        }
        if done < 2 {
            let unasked = json!({"carrier": "USPS"});
            let refused = workshop.post_with("ship", &unasked).await;
            assert_eq!(refused.json["code"], "confirm_shipping", "{}", refused.text);
            assert!(
                refused.text.contains("work on the piece may have stopped"),
                "{}",
                refused.text
            );
        }
        let why = view["review_items"][0]["text"].as_str().expect("a text");
        assert!(!why.contains("back into stock"), "{why}");
        for step in steps[done..].iter().copied() {
            let answer = workshop.post_with(step, &body(step)).await;
            assert_eq!(answer.status, 200, "{step}: {}", answer.text);
        }
        assert_eq!(workshop.status().await, "completed");
        shop.settles().await;
    }
}

#[tokio::test]
async fn what_an_earlier_version_left_refunded_after_a_failed_refund_is_mended_by_the_clock() {
    let (workshop, link) = Workshop::quoted().await;
    let shop = &workshop.shop;
    let session = workshop.pays(&link, card()).await;
    shop.deliver().await;
    assert_eq!(workshop.post("start").await.status, 200);
    let payment = shop.payment_of(&session).await;
    let refund = shop.stripe.refund(&payment, None).await.expect("a refund");
    shop.settles().await;
    shop.stripe.fail_refund(&refund).await.expect("a failure");
    shop.settles().await;
    // It left the piece where it was.
    for sql in [
        "update custom_orders set status = 'refunded'",
        "delete from custom_order_events where from_status = 'refunded'",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect("a change");
    }
    shop.sweep_all().await;
    assert_eq!(workshop.status().await, "in_production");
    shop.settles().await;
}

#[tokio::test]
async fn what_an_earlier_version_left_refunded_is_ended_by_the_clock() {
    let (workshop, link) = Workshop::quoted().await;
    let session = workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    let payment = workshop.shop.payment_of(&session).await;
    let refunded = workshop.shop.stripe.refund(&payment, None).await;
    refunded.expect("a refund");
    workshop.shop.deliver().await;
    // It knew no such state.
    for sql in [
        "update custom_orders set status = 'in_production'",
        "delete from custom_order_events where to_status = 'refunded'",
    ] {
        sqlx::query(sql)
            .execute(&workshop.shop.db)
            .await
            .expect("a change");
    }
    workshop.shop.sweep_all().await;
    assert_eq!(workshop.status().await, "refunded");
    workshop.shop.run_jobs().await;
}

#[tokio::test]
async fn shipping_the_order_ships_the_request() {
    let (workshop, link) = Workshop::quoted().await;
    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    let order = text(&workshop.view().await["order"]["number"]);
    let admin = workshop
        .shop
        .admin(&[Scope::OrdersRead, Scope::OrdersWrite])
        .await;
    let missing = json!({"carrier": "USPS", "images": ["0".repeat(64)]});
    let path = format!("/api/admin/orders/{order}/ship/");
    assert_eq!(
        admin.post(&path, &missing).await.field_errors(),
        ["images[0]"]
    );
    assert_eq!(workshop.status().await, "paid");

    let shipped = admin.post(&path, &json!({"carrier": "USPS"})).await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);
    assert_eq!(shipped.json["status"], "shipped");
    assert_eq!(workshop.status().await, "shipped");
    assert_eq!(
        admin.post(&path, &json!({"carrier": "USPS"})).await.status,
        409
    );
    let delivered = admin
        .post(&format!("/api/admin/orders/{order}/deliver/"), &json!({}))
        .await;
    assert_eq!(delivered.json["status"], "delivered");
    assert_eq!(workshop.status().await, "completed");
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.emails("custom_order_shipped").await, 1);
    assert_eq!(workshop.emails("order_shipped").await, 0);
}

#[tokio::test]
async fn only_the_drawn_moves_are_made() {
    let workshop = Workshop::open().await;
    for (what, code) in [
        ("approve", "no_quote"),
        ("start", "not_paid"),
        ("complete", "not_shipped"),
    ] {
        let refused = workshop.post(what).await;
        assert_eq!(refused.status, 409, "{what}: {}", refused.text);
        assert_eq!(refused.json["code"], code);
    }
    let shipment = json!({"carrier": "USPS"});
    assert_eq!(
        workshop.post_with("ship", &shipment).await.json["code"],
        "not_shippable"
    );
    let withdrawn = workshop.post_with("withdraw", &json!({})).await;
    assert_eq!(withdrawn.json["code"], "not_withdrawable");
    let reason = json!({"reason": "We do not bead phone cases."});
    assert_eq!(workshop.post_with("reject", &reason).await.status, 200);
    assert_eq!(workshop.status().await, "rejected");
    assert_eq!(
        workshop.put("quote", &quote(9000)).await.json["code"],
        "not_quotable"
    );
    assert_eq!(
        workshop.post("approve").await.json["code"],
        "not_approvable"
    );
    assert_eq!(workshop.post("start").await.json["code"], "not_paid");
    assert_eq!(workshop.moves().await, ["pending→rejected"]);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.emails("custom_order_rejected").await, 1);
}

#[tokio::test]
async fn a_draft_is_the_owner_s_alone_until_it_is_approved() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(
        workshop.put("quote", &quote(7000)).await.status,
        200,
        "changed at will"
    );
    let view = workshop.view().await;
    assert_eq!(view["quotes"].as_array().map(Vec::len), Some(1));
    assert_eq!(view["quotes"][0]["amount"], 7000);
    let page = workshop
        .shop
        .client
        .get(&workshop.shop.status_page(&workshop.id))
        .await;
    assert_eq!(page.json["quote"], Value::Null);
    assert!(workshop.shop.at_stripe("payment_link").await.is_empty());

    workshop.quotes(7500).await;
    assert_eq!(workshop.put("quote", &quote(6000)).await.status, 200);
    let refused = workshop.post("approve").await;
    assert_eq!(refused.json["code"], "quote_is_live");
    let page = workshop
        .shop
        .client
        .get(&workshop.shop.status_page(&workshop.id))
        .await;
    assert_eq!(page.json["quote"]["amount"], 7500);
}

#[tokio::test]
async fn a_quote_is_checked_and_each_error_names_its_field() {
    let workshop = Workshop::open().await;
    for (body, fields) in [
        (json!({"amount": 49, "description": "x"}), vec!["amount"]),
        (
            json!({"amount": 100_000_000, "description": "x"}),
            vec!["amount", "shipping"],
        ),
        (
            json!({"amount": 99_999_999, "description": "x"}),
            vec!["shipping"],
        ),
        (
            json!({"amount": 5000, "description": " "}),
            vec!["description"],
        ),
        (
            json!({"amount": 5000, "description": "x\u{0}"}),
            vec!["description"],
        ),
        (
            json!({"amount": 5000, "description": "x".repeat(2001)}),
            vec!["description"],
        ),
        (
            json!({"amount": 5000, "description": "x", "shipping": -1}),
            vec!["shipping"],
        ),
        (
            json!({"amount": 5000, "description": "x", "valid_days": 0}),
            vec!["valid_days"],
        ),
        (
            json!({"amount": 5000, "description": "x", "valid_days": 366}),
            vec!["valid_days"],
        ),
        (
            json!({"amount": "5000", "description": "x"}),
            vec!["amount"],
        ),
        (
            json!({"amount": 5000, "description": "x", "shipping_zone": "mars"}),
            vec!["shipping_zone"],
        ),
        (
            json!({"amount": 1, "description": "", "valid_days": -1}),
            vec!["amount", "description", "valid_days"],
        ),
    ] {
        assert_eq!(
            workshop.put("quote", &body).await.field_errors(),
            fields,
            "{body}"
        );
    }
    let zone = json!({"amount": 5000, "description": "x", "shipping_zone": "international", "valid_days": 30});
    let quoted = workshop.put("quote", &zone).await;
    assert_eq!(quoted.json["quotes"][0]["shipping"], 2000);
    let shipment = json!({"carrier": "", "tracking_number": "a<b", "tracking_url": "javascript:alert(1)", "images": ["x"]});
    assert_eq!(
        workshop.post_with("ship", &shipment).await.status,
        409,
        "what may not be shipped is not looked at"
    );
    assert_eq!(
        workshop
            .post_with("notes", &json!({"text": ""}))
            .await
            .field_errors(),
        ["text"]
    );
    assert_eq!(
        workshop
            .post_with("reject", &json!({"reason": ""}))
            .await
            .field_errors(),
        ["reason"]
    );
}

#[tokio::test]
async fn requests_are_found_by_state_number_and_words() {
    let workshop = Workshop::open().await;
    let shop = &workshop.shop;
    let other = shop.asks_for_a_piece("bob_x@example.org").await;
    let list = |query: &str| {
        let (admin, path) = (
            workshop.admin.clone(),
            format!("/api/admin/custom-orders/?{query}"),
        );
        async move { admin.get(&path).await }
    };
    assert_eq!(list("").await.ids(), [json!(other), json!(workshop.id)]);
    assert_eq!(list("page_size=1&page=2").await.ids(), [json!(workshop.id)]);
    assert_eq!(list("search=BOB_X").await.ids(), [json!(other)]);
    assert_eq!(list("search=bobxx").await.ids(), Vec::<Value>::new());
    let number = text(&workshop.view().await["number"]);
    assert_eq!(
        list(&format!("search={number}")).await.ids(),
        [json!(workshop.id)]
    );
    assert_eq!(list("status=paid").await.ids(), Vec::<Value>::new());
    assert_eq!(list("status=pending").await.json["count"], 2);
    assert_eq!(
        list("status=odd&page=0&page_size=101&search=%00")
            .await
            .field_errors()
            .len(),
        4
    );

    let by_number = workshop
        .admin
        .get(&format!("/api/admin/custom-orders/{number}/"))
        .await;
    assert_eq!(by_number.json["id"], workshop.id.as_str());
    for unknown in [
        "CO-1",
        "CO-x",
        "nothing",
        "%00",
        "00000000-0000-0000-0000-000000000000",
    ] {
        let path = format!("/api/admin/custom-orders/{unknown}/");
        assert_eq!(workshop.admin.get(&path).await.status, 404, "{unknown}");
        let note = workshop
            .admin
            .post(&format!("{path}notes/"), &json!({"text": "x"}))
            .await;
        assert_eq!(note.status, 404, "{unknown}");
    }
}

#[tokio::test]
async fn only_a_token_for_custom_orders_opens_them() {
    let workshop = Workshop::open().await;
    let others = [
        Scope::Catalog,
        Scope::Stock,
        Scope::OrdersRead,
        Scope::OrdersWrite,
    ];
    let other = workshop.shop.admin(&others).await;
    for (method, tail, body) in [
        (Method::GET, "", None),
        (Method::POST, "notes", Some(json!({"text": "x"}))),
        (Method::PUT, "quote", Some(quote(9000))),
        (Method::POST, "requote", Some(quote(9000))),
        (Method::POST, "approve", None),
        (Method::POST, "withdraw", Some(json!({}))),
        (Method::POST, "reject", Some(json!({"reason": "x"}))),
        (Method::POST, "start", None),
        (Method::POST, "ship", Some(json!({"carrier": "x"}))),
        (Method::POST, "complete", None),
    ] {
        for (client, status) in [(&workshop.shop.client, 401), (&other, 403)] {
            let headers = [("content-type", "application/json")];
            let body = body.as_ref().map(Value::to_string);
            let path = workshop.path(tail);
            let answer = client.send(method.clone(), &path, &headers, body).await;
            assert_eq!(answer.status, status, "{method} {tail}: {}", answer.text);
        }
    }
    assert_eq!(other.get("/api/admin/custom-orders/").await.status, 403);
    assert!(workshop.moves().await.is_empty());
}

#[tokio::test]
async fn the_customer_s_page_tells_their_request_and_nobody_else_s() {
    let (workshop, link) = Workshop::quoted().await;
    let shop = &workshop.shop;
    let address = shop.status_page(&workshop.id);
    let page = shop.client.get(&address).await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.json["status"], "approved");
    assert_eq!(page.json["quote"]["total"], 9500);
    assert!(text(&page.json["quote"]["payment_url"]).contains("/sandbox/"));
    for secret in ["ann@example.com", "Ann", "token:"] {
        assert!(!page.text.contains(secret), "{secret} is told");
    }
    let html = shop
        .client
        .send(
            Method::GET,
            &address,
            &[("accept", "text/html")],
            None::<String>,
        )
        .await;
    assert!(html.header("content-type").starts_with("text/html"));
    assert!(html.text.contains("Pay $95.00"), "{}", html.text);

    let other = shop.asks_for_a_piece("bob@example.com").await;
    let token = address.rsplit('=').next().expect("a token");
    for wrong in [
        format!("/api/custom-orders/{other}/status/?token={token}"),
        format!("/api/custom-orders/{}/status/", workshop.id),
        format!("/api/custom-orders/{}/status/?token=", workshop.id),
        format!(
            "/api/custom-orders/{}/status/?token={}",
            workshop.id,
            "0".repeat(32)
        ),
        format!(
            "/api/custom-orders/{}/status/?token={}x",
            workshop.id, token
        ),
        format!("/api/custom-orders/nothing/status/?token={token}"),
        format!("/api/custom-orders/%00/status/?token={token}"),
    ] {
        assert_eq!(shop.client.get(&wrong).await.status, 404, "{wrong}");
    }

    workshop.pays(&link, card()).await;
    shop.deliver().await;
    shop.run_jobs().await;
    let paid = shop.client.get(&address).await;
    assert_eq!(paid.json["quote"]["payment_url"], Value::Null);
    assert!(text(&paid.json["order_number"]).starts_with("SB-"));
    let shipment = json!({"carrier": "DHL", "tracking_number": "JD0 12"});
    assert_eq!(workshop.post_with("ship", &shipment).await.status, 200);
    let shipped = shop.client.get(&address).await;
    assert_eq!(shipped.json["shipment"]["tracking_number"], "JD0 12");
}

#[tokio::test]
async fn a_link_whose_answer_was_lost_is_found_again_at_once() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(workshop.post("approve").await.status, 202);
    workshop
        .shop
        .stripe
        .fail_next(LINKS, Fault::ActThenServerError, 3);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "approved");
    assert_eq!(workshop.shop.at_stripe("payment_link").await.len(), 1);
}

#[tokio::test]
async fn a_payment_before_the_link_s_answer_has_reached_us_is_an_order() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    assert_eq!(workshop.post("approve").await.status, 202);
    workshop.shop.stripe.fail_next(LINKS, Fault::ActThenDrop, 3);
    workshop
        .shop
        .stripe
        .fail_next("GET /v1/payment_links", Fault::ServerError, 9);
    assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);
    let link = text(&workshop.shop.at_stripe("payment_link").await[0]["id"]);
    workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    assert_eq!(workshop.status().await, "paid");
    workshop.shop.stripe.clear_faults();
    workshop.shop.hurry_jobs().await;
    workshop.shop.run_jobs().await;
    assert_eq!(
        workshop.moves().await,
        ["pending→approved", "approved→paid"]
    );
    assert_eq!(workshop.emails("custom_order_approved").await, 0);
    assert_eq!(workshop.emails("payment_received").await, 1);
    workshop.shop.audit().await;
}

#[tokio::test]
async fn what_was_planned_happens_though_a_delayed_payment_fails_meanwhile() {
    let (workshop, link) = Workshop::quoted().await;
    let session = workshop.pays(&link, delayed()).await;
    let reason = json!({"reason": "The beads are gone."});
    // The owner withdraws before Stripe has told of the delayed payment, and it fails before the link is closed.
    assert_eq!(workshop.post_with("withdraw", &reason).await.status, 202);
    let settled = workshop.shop.stripe.settle_delayed(&session, false).await;
    settled.expect("a decision");
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "pending");
    assert_eq!(workshop.emails("quote_withdrawn").await, 1);
}

#[tokio::test]
async fn a_page_that_cannot_be_ended_keeps_its_quote_until_it_can() {
    let (workshop, link) = Workshop::quoted().await;
    let waiting = workshop.opens(&link).await;
    assert_eq!(workshop.post_with("withdraw", &json!({})).await.status, 202);
    // As while a payment is under way: Stripe will not expire it, and says that it is open.
    let refusal = Fault::Refused {
        code: "payment_in_progress".to_owned(),
        message: "A payment is being processed.".to_owned(),
        param: None,
    };
    let expiring = "POST /v1/checkout/sessions/{id}/expire";
    workshop.shop.stripe.fail_next(expiring, refusal, 1);
    assert_eq!(workshop.shop.run_failing_jobs().await.len(), 1);
    assert_eq!(current(&workshop.view().await)["state"], "closing");
    let paid = workshop.shop.stripe.pay(&waiting, card()).await;
    paid.expect("a payment");
    workshop.shop.hurry_jobs().await;
    workshop.shop.run_jobs().await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "paid");
    workshop.shop.audit().await;
}

#[tokio::test]
async fn a_link_that_stripe_will_not_close_is_shown_to_the_owner_once() {
    let (workshop, _) = Workshop::quoted().await;
    assert_eq!(workshop.post_with("withdraw", &json!({})).await.status, 202);
    for _ in 0..3 {
        let refusal = Fault::Refused {
            code: "resource_locked".to_owned(),
            message: "No".to_owned(),
            param: None,
        };
        workshop.shop.stripe.fail_next(CLOSING, refusal, 1);
        workshop.shop.run_failing_jobs().await;
        workshop.shop.hurry_jobs().await;
    }
    let view = workshop.view().await;
    assert!(text(&view["review_items"][0]["text"]).contains("could not be closed"));
    let told = view["timeline"].as_array().expect("a timeline").iter();
    let told = told.filter(|entry| text(&entry["note"]).contains("could not be closed"));
    assert_eq!(told.count(), 1);
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.status().await, "pending");
}

#[tokio::test]
async fn a_lost_job_is_queued_again_by_the_clock() {
    let workshop = Workshop::open().await;
    assert_eq!(workshop.put("quote", &quote(9000)).await.status, 200);
    for (what, status) in [("approve", "approved"), ("withdraw", "pending")] {
        assert_eq!(workshop.post_with(what, &json!({})).await.status, 202);
        sqlx::query("delete from graphile_worker._private_jobs")
            .execute(&workshop.shop.db)
            .await
            .expect("the queue");
        workshop.shop.sweep_all().await;
        workshop.shop.run_jobs().await;
        assert_ne!(workshop.status().await, status, "it may still be under way");
        workshop.shop.wait(Duration::from_secs(11 * 60)).await;
        workshop.shop.sweep_all().await;
        workshop.shop.run_jobs().await;
        assert_eq!(workshop.status().await, status);
    }
}

#[tokio::test]
async fn should_stripe_take_a_second_payment_all_the_same_it_is_given_back() {
    let (workshop, link) = Workshop::quoted().await;
    let first = workshop.pays(&link, card()).await;
    // As if the limit did not hold.
    sqlx::query(
        "update stripe_sandbox.objects
         set data = data || '{\"active\": true, \"restrictions\": null}'
         where id = $1",
    )
    .bind(&link)
    .execute(&workshop.shop.db)
    .await
    .expect("a change");
    let second = workshop.pays(&link, card()).await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    workshop.shop.deliver().await;
    workshop.shop.run_jobs().await;
    assert_eq!(workshop.shop.statuses().await, ["paid"]);
    let refunds = workshop.shop.at_stripe("refund").await;
    assert_eq!(refunds.len(), 1);
    assert_eq!(refunds[0]["status"], "succeeded");
    let given_back = text(&refunds[0]["payment_intent"]);
    let payments = [
        workshop.shop.payment_of(&first).await,
        workshop.shop.payment_of(&second).await,
    ];
    assert!(payments.contains(&given_back), "{given_back}");
    assert_eq!(workshop.emails("could_not_fulfill").await, 1);
    workshop.shop.audit().await;
}
