//! The auditor can see: each promise is broken on purpose in a settled shop's books, and it names just that. Nothing
//! that it finds stays: each breach is rolled back before the next.

use std::collections::BTreeSet;

use serde_json::json;
use spirit_beads::auth::Scope;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use stripe_sandbox::NewDispute;

use super::audit::audit;
use crate::support::{Client, PATIENT, Shop, card, session_of};

/// A breach: what is done to the shop's books and to Stripe's, whether an email is delivered once more, and what the
/// auditor says.
struct Breach {
    shop: &'static str,
    stripe: &'static str,
    is_redelivered: bool,
    named: &'static [&'static str],
}

const fn ours(shop: &'static str, named: &'static [&'static str]) -> Breach {
    let (stripe, is_redelivered) = ("", false);
    Breach {
        shop,
        stripe,
        is_redelivered,
        named,
    }
}

const fn theirs(stripe: &'static str, named: &'static [&'static str]) -> Breach {
    let (shop, is_redelivered) = ("", false);
    Breach {
        shop,
        stripe,
        is_redelivered,
        named,
    }
}

/// Of the orders that [`settle`] makes: SB-1001 was delivered, SB-1002 refunded in full, SB-1003 in part, SB-1004
/// expired, SB-1005 is a custom order's.
const BREACHES: [Breach; 54] = [
    // P1, P5
    ours("update products set reserved = 1 where id = 'amber'", &["hold left"]),
    ours(
        "alter table products drop constraint products_never_oversold;
         update products set reserved = 5 where id = 'amber'",
        &["hold left", "oversold"],
    ),
    ours("update products set on_hand = on_hand + 1 where id = 'coral'", &["stock without ledger"]),
    ours(
        "update stock_movements set delta = delta + 1 where product_id = 'coral' and reason = 'initial'",
        &["stock without ledger"],
    ),
    ours(
        "update order_lines set quantity = 9 where order_id = (select id from orders where number = 1001)",
        &["piece sold twice", "sale without stock"],
    ),
    ours(
        "update products set on_hand = on_hand + 1 where id = 'amber';
         delete from stock_movements where reason = 'sale' and order_id = (select id from orders where number = 1003)",
        &["sale without stock"],
    ),
    ours(
        "update products set on_hand = on_hand - 1 where id = 'coral';
         insert into stock_movements (product_id, delta, reason, order_id, actor)
         select 'coral', -1, 'sale', id, 'test' from orders where number = 1004",
        &["stock taken unpaid"],
    ),
    ours(
        "update orders set status = 'pending' where number = 1004;
         delete from order_events
         where to_status = 'expired' and order_id = (select id from orders where number = 1004)",
        &["order still pending"],
    ),
    ours(
        "alter table order_lines drop constraint order_lines_restocked_not_shipped;
         update order_lines set restocked = 1 where order_id = (select id from orders where number = 1001)",
        &["restocked piece shipped", "return not counted"],
    ),
    ours(
        "update order_lines set shipped = 0 where order_id = (select id from orders where number = 1001)",
        &["shipped with nothing to ship"],
    ),
    // As if the piece had gone back, or all of the money, before the shipment left.
    ours(
        "insert into audit_log (id, actor, action, object, after)
         overriding system value
         values (0, 'test', 'order.refund', 'order:SB-1001',
                 '{\"refund\": 100, \"restock\": [{\"product\": \"amber\", \"quantity\": 1}]}')",
        &["restocked piece shipped"],
    ),
    ours(
        "insert into audit_log (id, actor, action, object, after)
         overriding system value
         values (0, 'test', 'order.refund', 'order:SB-1005', '{\"refund\": null, \"restock\": []}')",
        &["shipped after a refund in full"],
    ),
    // P2
    ours(
        "update custom_orders set status = 'refunded';
         insert into custom_order_events (custom_order_id, kind, from_status, to_status, actor)
         select id, 'status', 'completed', 'refunded', 'test' from custom_orders",
        &["request and order differ"],
    ),
    theirs(
        "insert into stripe_sandbox.objects (id, object, created, data)
         select 'ch_lost', object, created, data || '{\"id\": \"ch_lost\", \"payment_intent\": \"pi_lost\", \"amount_refunded\": 0}'
         from stripe_sandbox.objects
         where object = 'charge'
         limit 1",
        &["payment without order"],
    ),
    ours(
        "update payments set outcome = 'refused'
         where order_id = (select id from orders where number = 1001)",
        &["email missing", "paid order without payment", "payment without order"],
    ),
    Breach {
        shop: "delete from payments where order_id = (select id from orders where number = 1001)",
        stripe: "update stripe_sandbox.objects
                 set data = jsonb_set(data, '{amount_refunded}', data -> 'amount')
                 where object = 'charge' and seq = (select min(seq) from stripe_sandbox.objects where object = 'charge')",
        is_redelivered: false,
        named: &["paid order without payment"],
    },
    Breach {
        shop: "drop index payments_one_settles;
               insert into payments (id, order_id, outcome, amount, currency)
               select 'pi_twice', order_id, outcome, amount, currency
               from payments where order_id = (select id from orders where number = 1001)",
        stripe: "insert into stripe_sandbox.objects (id, object, created, data)
                 select 'ch_twice', object, created, data || '{\"id\": \"ch_twice\", \"payment_intent\": \"pi_twice\"}'
                 from stripe_sandbox.objects
                 where object = 'charge' and seq = (select min(seq) from stripe_sandbox.objects where object = 'charge')",
        is_redelivered: false,
        named: &["order paid twice"],
    },
    ours(
        "update orders set total = total + 1, tax = tax + 1 where number = 1001",
        &["amount differs"],
    ),
    ours(
        "update stripe_refunds set refund_id = null;
         delete from refunds where id = (select id from refunds order by created_at limit 1)",
        &["refund differs"],
    ),
    ours("update stripe_refunds set amount = amount + 1 where amount = 500", &["refund unknown by its id"]),
    ours(
        "delete from order_events where kind = 'refund' and order_id = (select id from orders where number = 1003)",
        &["refund not on the timeline"],
    ),
    ours(
        "insert into order_events (order_id, kind, actor, note)
         select order_id, kind, actor, note from order_events
         where kind = 'refund' and order_id = (select id from orders where number = 1003)",
        &["refund twice on the timeline"],
    ),
    ours(
        "update orders set refunded = 0 where number = 1002",
        &["refund differs", "refunded without a refund"],
    ),
    ours("update orders set processing_since = now() where number = 1004", &["delayed payment undecided"]),
    theirs(
        "insert into stripe_sandbox.objects (id, object, created, data)
         select 'evt_debit', object, created,
                jsonb_set(data, '{type}', '\"checkout.session.async_payment_failed\"') || '{\"id\": \"evt_debit\"}'
         from stripe_sandbox.objects
         where object = 'event' and data ->> 'type' = 'checkout.session.expired'
         limit 1",
        &["email missing"],
    ),
    ours(
        "update refunds set state = 'planned' where id = (select id from refunds order by created_at limit 1)",
        &["refund differs", "refund hangs"],
    ),
    ours("update orders set refunded = refunded - 1 where number = 1003", &["refund differs"]),
    theirs(
        "update stripe_sandbox.objects set data = jsonb_set(data, '{active}', 'true') where object = 'payment_link'",
        &["link left open"],
    ),
    Breach {
        shop: "update refunds set state = 'failed'
               where payment_id = (select id from payments where order_id = (select id from orders where number = 1003))",
        stripe: "update stripe_sandbox.objects
                 set data = data || '{\"status\": \"failed\"}'
                 where object = 'refund' and data ->> 'amount' = '500'",
        is_redelivered: false,
        named: &["refund unknown by its id", "trouble unsaid"],
    },
    theirs(
        "update stripe_sandbox.objects
         set data = data || '{\"status\": \"failed\"}'
         where object = 'refund' and data ->> 'amount' = '500'",
        &["refund differs", "refund unknown by its id", "trouble unsaid"],
    ),
    // P10
    ours("delete from review_items where kind = 'inquiry'", &["dispute unsaid"]),
    ours("delete from review_items where kind = 'fraud_warning'", &["fraud warning unsaid"]),
    ours("delete from review_items where kind = 'payment_review'", &["review unsaid"]),
    ours(
        "update review_items set resolved_at = now(), resolved_by = 'stripe' where kind = 'inquiry'",
        &["dispute unsaid"],
    ),
    ours(
        "delete from emails where dedup_key = (select 'review_item:' || id from review_items where kind = 'inquiry')",
        &["email of unknown cause", "review item not emailed"],
    ),
    theirs(
        "update stripe_sandbox.objects set data = data || '{\"open\": false}' where object = 'review'",
        &["review item outlives its cause"],
    ),
    ours("update orders set shipping_address = null where number = 1001", &["missing address unsaid"]),
    // P3
    theirs(
        "update stripe_sandbox.objects set data = data || '{\"status\": \"warning_closed\"}' where object = 'dispute'",
        &["dispute differs", "review item outlives its cause"],
    ),
    ours("update disputes set state = 'warning_under_review'", &["dispute differs"]),
    ours("update disputes set id = 'dp_other'", &["dispute differs"]),
    theirs(
        "insert into stripe_sandbox.objects (id, object, created, data)
         select 'dp_1', 'dispute', created, jsonb_build_object('charge', id, 'status', 'lost')
         from stripe_sandbox.objects
         where object = 'charge'
         limit 1",
        &["dispute differs", "lost dispute unsaid"],
    ),
    ours(
        "delete from stripe_events where id = (select min(id) from stripe_events where type = 'checkout.session.completed')",
        &["event lost"],
    ),
    ours(
        "delete from stripe_events where id = (select min(id) from stripe_events where status = 'ignored')",
        &["event lost"],
    ),
    ours(
        "update stripe_events set status = 'failed'
         where id = (select min(id) from stripe_events where type = 'checkout.session.completed')",
        &["event not processed"],
    ),
    ours(
        "alter table stripe_events drop constraint stripe_events_pkey;
         insert into stripe_events select * from stripe_events
         where id = (select min(id) from stripe_events where type = 'checkout.session.completed')",
        &["event kept twice"],
    ),
    ours(
        "update products set on_hand = on_hand - 1 where id = 'amber';
         insert into stock_movements (product_id, delta, reason, order_id, actor)
         select product_id, delta, reason, order_id, actor from stock_movements
         where reason = 'sale' and order_id = (select id from orders where number = 1001)",
        &["took effect twice"],
    ),
    // P6
    ours(
        "update orders set status = 'delivered' where number = 1003;
         insert into order_events (order_id, kind, from_status, to_status, actor)
         select id, 'status', 'paid', 'delivered', 'test' from orders where number = 1003",
        &["illegal move"],
    ),
    ours("update orders set status = 'delivered' where number = 1003", &["timeline broken"]),
    ours(
        "update custom_orders set status = 'in_production';
         insert into custom_order_events (custom_order_id, kind, from_status, to_status, actor)
         select id, 'status', 'completed', 'in_production', 'test' from custom_orders",
        &["illegal move"],
    ),
    // Emails
    ours(
        "alter table emails drop constraint emails_dedup_key_key;
         insert into emails (id, dedup_key, kind, recipient, order_id, contents, state, attempts, sent_at)
         select gen_random_uuid(), dedup_key, kind, recipient, order_id, contents, state, attempts, sent_at
         from emails
         where kind = 'order_confirmation' and order_id = (select id from orders where number = 1001)",
        &["email twice"],
    ),
    Breach {
        shop: "",
        stripe: "",
        is_redelivered: true,
        named: &["email sent twice at once"],
    },
    ours(
        "update emails set state = 'queued', sent_at = null, attempts = 1
         where kind = 'order_shipped' and order_id = (select id from orders where number = 1001)",
        &["email not sent", "email of unknown cause"],
    ),
    // What hangs
    ours(
        "select graphile_worker.add_job('clock', '{\"job\": \"sweep\"}');
         update graphile_worker._private_jobs set locked_at = now() - interval '5 hours', locked_by = 'nobody'",
        &["job stuck"],
    ),
    ours(
        "select graphile_worker.add_job('clock', '{\"job\": \"sweep\"}');
         update graphile_worker._private_jobs set attempts = max_attempts",
        &["job dead"],
    ),
];

#[tokio::test]
async fn the_auditor_names_each_promise_that_is_broken() {
    let shop = Shop::open_with(&[PATIENT]).await;
    settle(&shop).await;
    let mailbox: Vec<String> = shop
        .mail()
        .into_iter()
        .map(|mail| mail.message_id)
        .collect();
    let mut ours = shop.db.acquire().await.expect("a connection");
    let mut theirs = shop.db.acquire().await.expect("a connection");

    let clean = audit(&mut ours, &mut theirs, &mailbox)
        .await
        .expect("an audit");
    assert!(clean.violations.is_empty(), "{:#?}", clean.violations);
    for (what, count) in [
        ("orders", 5),
        ("orders paid", 4),
        ("payments at Stripe", 4),
        ("refunds at Stripe", 2),
        ("requests for a piece", 1),
    ] {
        assert_eq!(clean.figures[what], count, "{what}");
    }

    for breach in &BREACHES {
        let mut mailbox = mailbox.clone();
        if breach.is_redelivered {
            mailbox.push(mailbox[0].clone());
        }
        let found = breaks(&mut ours, &mut theirs, breach, &mailbox).await;
        let named: BTreeSet<&str> = breach.named.iter().copied().collect();
        assert_eq!(found, named, "after {}{}", breach.shop, breach.stripe);
    }
    let again = audit(&mut ours, &mut theirs, &mailbox)
        .await
        .expect("an audit");
    assert!(again.violations.is_empty(), "{:#?}", again.violations);
}

/// Breaks it, audits, and takes it back.
async fn breaks(
    ours: &mut PgConnection,
    theirs: &mut PgConnection,
    breach: &Breach,
    mailbox: &[String],
) -> BTreeSet<&'static str> {
    let mut ours = ours.begin().await.expect("a transaction");
    let mut theirs = theirs.begin().await.expect("a transaction");
    for (conn, sql) in [(&mut ours, breach.shop), (&mut theirs, breach.stripe)] {
        if !sql.is_empty() {
            let changed = conn.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
            let changed = changed.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert!(changed.rows_affected() > 0, "it changes nothing: {sql}");
        }
    }
    let report = audit(&mut ours, &mut theirs, mailbox)
        .await
        .expect("an audit");
    ours.rollback().await.expect("a rollback");
    theirs.rollback().await.expect("a rollback");
    report.names()
}

/// A day of a small shop, after which nothing is left to do.
async fn settle(shop: &Shop) {
    for (name, count) in [("Amber", 4), ("Birch", 1), ("Coral", 2)] {
        shop.stocks(name, count).await;
    }
    shop.run_jobs().await;
    let admin = shop
        .admin(&[
            Scope::OrdersRead,
            Scope::OrdersWrite,
            Scope::Refunds,
            Scope::CustomOrders,
        ])
        .await;
    for piece in ["amber", "birch", "amber"] {
        let session = session_of(&shop.shopper().check_out(&[(piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
        shop.deliver().await;
    }
    let abandoned = session_of(&shop.shopper().check_out(&[("coral", 1)]).await);
    shop.stripe.expire(&abandoned).await.expect("an end");
    does(&admin, "orders/SB-1001/ship", json!({"carrier": "USPS"})).await;
    does(&admin, "orders/SB-1001/deliver", json!({})).await;
    let restock = json!([{"product_id": "birch", "quantity": 1}]);
    does(&admin, "orders/SB-1002/refund", json!({"restock": restock})).await;
    does(&admin, "orders/SB-1003/refund", json!({"amount": 500})).await;
    shop.run_jobs().await;
    shop.deliver().await;

    shop.asks_for_a_piece("ann@example.com").await;
    let quote = json!({"amount": 14_500, "description": "A case."});
    does(&admin, "custom-orders/CO-1001/requote", quote).await;
    shop.run_jobs().await;
    let request = admin.get("/api/admin/custom-orders/CO-1001/").await.json;
    let link = request["quotes"][0]["payment_link_id"]
        .as_str()
        .expect("a link");
    let session = shop.stripe.open_link(link).await.expect("a page");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    does(&admin, "custom-orders/CO-1001/start", json!({})).await;
    does(
        &admin,
        "custom-orders/CO-1001/ship",
        json!({"carrier": "USPS"}),
    )
    .await;
    does(&admin, "custom-orders/CO-1001/complete", json!({})).await;
    let payment = shop.payment_of(&session).await;
    let warned = shop.stripe.warn_of_fraud(&payment).await;
    warned.expect("a warning");
    shop.stripe.open_review(&payment).await.expect("a review");
    let inquiry = NewDispute {
        is_inquiry: true,
        ..NewDispute::default()
    };
    let asked = shop.stripe.dispute_as(&payment, &inquiry).await;
    asked.expect("an inquiry");
    shop.deliver().await;
    shop.run_jobs().await;
    shop.deliver().await;
    shop.run_jobs().await;
}

async fn does(admin: &Client, what: &str, body: serde_json::Value) {
    let answer = admin.post(&format!("/api/admin/{what}/"), &body).await;
    assert!(answer.status < 300, "{what}: {}", answer.text);
}
