//! The books of a test's shop: its database, its mail and Stripe, as they stand.

use serde_json::Value;

use sqlx::PgPool;

use super::Shop;
use crate::support::Mail;

impl Shop {
    /// Number of emails of a kind that were caused.
    pub async fn emails_of(&self, kind: &str) -> i64 {
        sqlx::query_scalar("select count(*) from emails where kind = $1")
            .bind(kind)
            .fetch_one(&self.db)
            .await
            .expect("the emails")
    }

    /// The emails that were delivered into the folder, oldest first.
    pub fn mail(&self) -> Vec<Mail> {
        Mail::in_folder(&self.app.config.data_dir.join("mail"))
    }

    /// (on hand, reserved) of a product.
    pub async fn stock(&self, product: &str) -> (i32, i32) {
        sqlx::query_as("select on_hand, reserved from products where id = $1")
            .bind(product)
            .fetch_one(&self.db)
            .await
            .expect("the product")
    }

    /// The state of an order, by its session's id.
    pub async fn status_of(&self, session: &str) -> String {
        sqlx::query_scalar(
            "select o.status from orders o join checkouts c on c.order_id = o.id where c.session_id = $1",
        )
        .bind(session)
        .fetch_one(&self.db)
        .await
        .expect("the order of the session")
    }

    /// Every order's state, oldest first.
    pub async fn statuses(&self) -> Vec<String> {
        sqlx::query_scalar("select status from orders order by number")
            .fetch_all(&self.db)
            .await
            .expect("the orders")
    }

    /// The order of a session, as the database has it.
    pub async fn order(&self, session: &str) -> Value {
        sqlx::query_scalar(
            "select to_jsonb(o) || jsonb_build_object('review_items', (
                        select coalesce(jsonb_agg(to_jsonb(r) order by r.deadline, r.raised_at desc, r.id desc), '[]')
                        from review_items r
                        where r.order_id = o.id and r.resolved_at is null))
             from orders o join checkouts c on c.order_id = o.id where c.session_id = $1",
        )
        .bind(session)
        .fetch_one(&self.db)
        .await
        .expect("the order of the session")
    }

    /// The objects of a kind (`refund`, `checkout.session`) that Stripe has, oldest first.
    pub async fn at_stripe(&self, kind: &str) -> Vec<Value> {
        sqlx::query_scalar("select data from stripe_sandbox.objects where object = $1 order by seq")
            .bind(kind)
            .fetch_all(&self.db)
            .await
            .expect("the sandbox's objects")
    }

    /// A session as Stripe has it.
    pub async fn session(&self, session: &str) -> Value {
        let all = self.at_stripe("checkout.session").await;
        let found = all.into_iter().find(|object| object["id"] == session);
        found.expect("the session")
    }

    /// The payment intent of a paid session.
    pub async fn payment_of(&self, session: &str) -> String {
        let session = self.session(session).await;
        session["payment_intent"]
            .as_str()
            .expect("a payment")
            .to_owned()
    }

    /// The newest event of a type that Stripe has.
    pub async fn event(&self, kind: &str) -> Value {
        let events = self.stripe.events().await.expect("the events");
        let found = events.into_iter().rfind(|event| event["type"] == kind);
        found.unwrap_or_else(|| panic!("an event {kind}"))
    }

    /// Checks P1, P2 and P5 in the middle of a test. At its end every shop does so by itself.
    pub async fn audit(&self) {
        audit_books(&self.db).await;
        audit_charges(&self.db).await;
    }
}

/// P1, P5 and a part of P2, whatever the test did: the ledger explains the stock, pending orders explain the holds, and
/// each paid order has one payment that settled it.
pub(super) async fn audit_books(db: &PgPool) {
    let mut conn = db.acquire().await.expect("a connection");
    let wrong = spirit_beads::products::check_ledger(&mut conn)
        .await
        .expect("the ledger");
    assert!(wrong.is_empty(), "the books do not add up: {wrong:?}");
    let unpaid: Vec<i64> = sqlx::query_scalar(
        "select o.number from orders o
         where o.paid_at is not null and not o.payment_unrecorded and o.channel in ('storefront', 'custom_order')
           and (select count(*) from payments p where p.order_id = o.id and p.outcome = 'settled') <> 1",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("the orders");
    assert!(
        unpaid.is_empty(),
        "paid orders without a payment: {unpaid:?}"
    );
    let orphans: Vec<String> = sqlx::query_scalar(
        "select p.id from payments p
         join orders o on o.id = p.order_id
         where (p.outcome = 'settled') <> (o.paid_at is not null)
           and p.outcome = 'settled'",
    )
    .fetch_all(&mut *conn)
    .await
    .expect("the payments");
    assert!(orphans.is_empty(), "payments without an order: {orphans:?}");
}

/// The rest of P2: each payment at Stripe is an order or a refund in full.
pub(super) async fn audit_charges(db: &PgPool) {
    let lost: Vec<String> = sqlx::query_scalar(
        "select c.data ->> 'payment_intent'
         from stripe_sandbox.objects c
         where c.object = 'charge'
           and c.data ->> 'amount_refunded' <> c.data ->> 'amount'
           and not exists (select from payments p
                           where p.id = c.data ->> 'payment_intent' and p.outcome = 'settled')",
    )
    .fetch_all(db)
    .await
    .expect("the charges");
    assert!(lost.is_empty(), "money without an order: {lost:?}");
}
