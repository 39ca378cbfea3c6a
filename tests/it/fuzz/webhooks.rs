//! Events: real ones with parts changed, signed by who knows the secret, and what is no event at all.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use reqwest::Method;
use serde_json::{Value, json};

use super::shop::{Stage, is_for_humans};
use super::{EDGES, Request, Verdict, any_json, api_answer, changed, spliced, text, try_inputs};
use crate::support::{WEBHOOK_SECRET, sign};
use crate::system::bad_input::EVENTS;

const WEBHOOK: &str = "/api/payments/webhook/";

#[derive(Clone, Debug)]
enum Input {
    /// An event, and how often it comes.
    Event(Value, usize),
    Signed(Vec<u8>),
    /// The header is this, if it can be sent; the body is a real event.
    Header(String, Vec<u8>),
}

#[test]
fn whatever_stripe_signs_the_books_hold() {
    try_inputs(800, stage, inputs, send, ends);
}

async fn stage() -> (Stage, Vec<Value>) {
    let stage = Stage::open().await;
    let events = stage.shop.stripe.events().await.expect("the events");
    let kinds: BTreeSet<&str> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    // The sandbox changes no warning that it has given.
    let never = ["radar.early_fraud_warning.updated", "a.type.of.next.year"];
    for kind in EVENTS.iter().filter(|kind| !never.contains(kind)) {
        assert!(kinds.contains(kind), "no {kind} among {kinds:?}");
    }
    (stage, events)
}

fn inputs((stage, events): &(Stage, Vec<Value>)) -> BoxedStrategy<Input> {
    let mut words = stage.names.clone();
    words.extend(
        [
            "paid",
            "unpaid",
            "no_payment_required",
            "complete",
            "open",
            "failed",
            "canceled",
            "succeeded",
            "won",
            "usd",
            "eur",
        ]
        .map(str::to_owned),
    );
    let kind = select(EVENTS.to_vec());
    let handled: Vec<Value> = events
        .iter()
        .filter(|event| EVENTS.iter().any(|kind| event["type"] == *kind))
        .cloned()
        .collect();
    // What it is about, with changes; the envelope is as it was, but for a name of its own and perhaps another type.
    let objects: Vec<Value> = handled
        .iter()
        .map(|event| event["data"]["object"].clone())
        .collect();
    // Mostly without what nobody reads, or most changes would change nothing.
    let slim: Vec<Value> = objects.iter().map(slim).collect();
    let object = prop_oneof![
        1 => changed(objects, words.clone()),
        3 => changed(slim.clone(), words.clone()),
    ];
    let object = (any::<Index>(), object);
    // Sessions say most: each has what is paid for, by whom, and where it goes.
    let paid = changed(slim, words.clone()).prop_map(|mut object| {
        if object.is_object() {
            object["status"] = json!("complete");
            object["payment_status"] = json!("paid");
        }
        object
    });
    let of_its_kind = {
        let handled = handled.clone();
        (object, kind.clone(), any::<bool>()).prop_map(move |((at, object), kind, other)| {
            let mut event = at.get(&handled).clone();
            event["data"]["object"] = object;
            if other {
                event["type"] = json!(kind);
            }
            event
        })
    };
    let created = prop_oneof![
        2 => Just(json!(1_700_000_000)),
        2 => select(EDGES.to_vec()).prop_map(Value::from),
        1 => any_json(words.clone()),
    ];
    let object = prop_oneof![1 => paid, 1 => any_json(words.clone()), 4 => plain(stage)];
    let made_up = (kind, object, created).prop_map(
        |(kind, object, created)| json!({"type": kind, "created": created, "data": {"object": object}}),
    );
    let named = prop_oneof![of_its_kind, made_up].prop_map(|mut event| {
        event["id"] = json!(format!("evt_{}", uuid::Uuid::new_v4().simple()));
        event
    });
    let whole = changed(handled.clone(), words.clone());
    let bytes: Vec<Vec<u8>> = handled
        .iter()
        .map(|event| event.to_string().into_bytes())
        .collect();
    let header = prop_oneof![
        text(vec![
            "t=1,v1=".to_owned(),
            "t=,v1=".to_owned(),
            "v1=00".to_owned()
        ]),
        spliced(Just(
            sign(WEBHOOK_SECRET, chrono::Utc::now().timestamp(), b"{}").into_bytes()
        ))
        .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ];
    prop_oneof![
        8 => (named, 1_usize..3).prop_map(|(event, times)| Input::Event(event, times)),
        1 => whole.prop_map(|event| Input::Event(event, 1)),
        1 => spliced(select(bytes.clone())).prop_map(Input::Signed),
        1 => (header, select(bytes)).prop_map(|(header, body)| Input::Header(header, body)),
    ]
    .boxed()
}

/// An object of few words about few things, so that one comes upon what another has said before.
fn plain(stage: &Stage) -> BoxedStrategy<Value> {
    let of = |start: &'static str| {
        let named = stage.names.iter().filter(|name| name.starts_with(start));
        let mut few: Vec<Value> = named.take(6).map(|name| json!(name)).collect();
        few.extend([json!(format!("{start}1")), json!(format!("{start}2"))]);
        select(few)
    };
    let amount = || {
        let whole = [5200, 9000, 9500].into_iter().chain(EDGES);
        select(whole.map(Value::from).collect::<Vec<_>>())
    };
    let id = prop_oneof![of("cs_"), of("re_")];
    let orders = stage.names_for("/orders/").into_iter().map(Value::from);
    let word = select(
        [
            "failed",
            "canceled",
            "succeeded",
            "paid",
            "unpaid",
            "won",
            "needs_response",
            "no_payment_required",
        ]
        .to_vec(),
    );
    (
        (id, of("pi_"), select(orders.collect::<Vec<_>>()), word),
        (amount(), amount(), amount()),
    )
        .prop_map(|((id, payment, order, word), (amount, total, tax))| {
            json!({
                "id": id, "payment_intent": payment, "client_reference_id": order, "currency": "usd",
                "status": word, "payment_status": word, "reason": word,
                "amount": amount, "amount_refunded": amount, "amount_total": total,
                "total_details": {"amount_tax": tax, "amount_shipping": tax},
            })
        })
        .boxed()
}

/// Fields that are read of an event's object.
fn slim(object: &Value) -> Value {
    let read = [
        "id",
        "status",
        "payment_status",
        "client_reference_id",
        "payment_intent",
        "payment_link",
        "metadata",
        "cancel_url",
        "amount",
        "amount_total",
        "amount_refunded",
        "currency",
        "customer_details",
        "collected_information",
        "reason",
    ];
    let mut slim = object.clone();
    slim.as_object_mut()
        .expect("an object")
        .retain(|key, _| read.contains(&key.as_str()));
    slim["total_details"] = json!({"amount_tax": 0, "amount_shipping": 500});
    slim
}

async fn send((stage, _): &(Stage, Vec<Value>), input: Input) -> Verdict {
    let now = chrono::Utc::now().timestamp();
    let (body, signature, times) = match input {
        Input::Event(event, times) => (event.to_string().into_bytes(), None, times),
        Input::Signed(body) => (body, None, 1),
        Input::Header(header, body) => (body, Some(header), 1),
    };
    let is_signed = signature.is_none();
    let signature = signature.unwrap_or_else(|| sign(WEBHOOK_SECRET, now, &body));
    let request = Request::new(Method::POST, WEBHOOK)
        .with("stripe-signature", &signature)
        .body("application/json", body);
    let mut status = 0;
    for _ in 0..times {
        let answer = request.send(&stage.shop.client).await?;
        if answer.status == 503 {
            let error: Option<String> = sqlx::query_scalar(
                "select last_error from stripe_events where status = 'failed' order by received_at desc limit 1",
            )
            .fetch_one(&stage.shop.db)
            .await
            .expect("the event");
            prop_assert!(error.as_deref().is_some_and(is_for_humans), "{error:?}");
            status = 503;
            continue;
        }
        status = api_answer(&answer)?;
        prop_assert!(is_signed || status == 400, "{answer:?}");
    }
    Ok(status)
}

/// Each order that is paid was said to be, by its name and to the cent.
async fn ends((stage, _): &(Stage, Vec<Value>)) {
    stage.settles().await;
    let db = &stage.shop.db;
    let paid: Vec<(String, String, i64, String)> = sqlx::query_as(
        "select o.id::text, coalesce(c.session_id, ''), o.total, o.currency
         from orders o
         join checkouts c on c.order_id = o.id
         where o.paid_at is not null",
    )
    .fetch_all(db)
    .await
    .expect("the orders");
    assert!(paid.len() >= 5);
    let payloads: Vec<String> =
        sqlx::query_scalar("select payload from stripe_events where status = 'processed'")
            .fetch_all(db)
            .await
            .expect("the events");
    let sessions: Vec<Value> = payloads
        .iter()
        .filter_map(|payload| serde_json::from_str::<Value>(payload).ok())
        .map(|event| event["data"]["object"].clone())
        .filter(|session| {
            ["paid", "no_payment_required"]
                .iter()
                .any(|word| session["payment_status"] == *word)
        })
        .collect();
    for (order, session, total, currency) in paid {
        let is_said = sessions.iter().any(|said| {
            (said["id"] == session || said["client_reference_id"] == order)
                && said["amount_total"] == total
                && said["currency"]
                    .as_str()
                    .is_some_and(|said| said.eq_ignore_ascii_case(&currency))
        });
        assert!(is_said, "nobody said that {order} is paid with {total}");
    }
}
