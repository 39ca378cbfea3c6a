//! The books of both shops after the switch. The storm's auditor compares the new shop's with Stripe's; what the old shop
//! did is read from its own database.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{PIECES, World};
use crate::chaos::audit::{Violation, audit};

/// Facts about what the new shop did not do itself, by which the auditor's findings are judged.
struct Former {
    /// Orders that the old shop had settled and told its customers of: `SB-1001`, and their ids.
    told: BTreeSet<String>,
    /// Orders of the old shop without a payment that Stripe knows here: of before the test, marked as paid by hand, or made
    /// by the import for a piece without an order.
    without_payment: BTreeSet<String>,
    /// Orders of the old shop without a session at Stripe.
    by_hand: BTreeSet<String>,
    /// Custom orders of the old shop.
    requested: BTreeSet<String>,
    /// Custom orders' orders that a second payment took from their request.
    overwritten: BTreeSet<String>,
    /// Payments of before the test, which Stripe does not know here.
    payments: BTreeSet<String>,
}

impl Former {
    async fn read(world: &World) -> Former {
        let takeover = &world.takeover;
        let set = async |sql: &str| -> BTreeSet<String> {
            let sql =
                format!("select coalesce(jsonb_agg(name), '[]') from ({sql}) as names (name)");
            let names: serde_json::Value = takeover.one(&sql).await;
            serde_json::from_value(names).expect("texts")
        };
        // Settled at the last import: the new shop has changed none of them since.
        let settled = "orders o join import_rows i on i.kind = 'order' and i.id = o.id::text
                       where i.status in ('paid', 'shipped', 'delivered', 'refunded')";
        Former {
            told: set(&format!(
                "select 'SB-' || o.number from {settled} union select o.id::text from {settled}"
            ))
            .await,
            without_payment: set(&format!(
                "select 'SB-' || o.number from {settled} and not exists (select from payments p
                                     join stripe_sandbox.objects s on s.id = p.id
                                     where p.order_id = o.id)"
            ))
            .await,
            by_hand: set(&format!(
                "select 'SB-' || o.number from {settled} and o.channel = 'manual'"
            ))
            .await,
            requested: set("select 'CO-' || number from custom_orders").await,
            overwritten: set(&format!(
                "select 'SB-' || o.number from {settled} and o.is_custom_order
                    and not exists (select from custom_orders c where c.order_id = o.id)"
            ))
            .await,
            payments: set("select id from payments p where copied_at is not null
                    and not exists (select from stripe_sandbox.objects s where s.id = p.id)")
            .await,
        }
    }

    /// Returns true for a finding about what the old shop did before the new one was there.
    fn explains(&self, found: &Violation) -> bool {
        let name = found.where_.split([' ', ':']);
        let named = |set: &BTreeSet<String>| name.clone().any(|word| set.contains(word));
        match found.what {
            "email missing" => named(&self.told) || named(&self.requested),
            // The old shop took its pieces before the import.
            "sale without stock" => named(&self.told) && found.where_.ends_with(" 0 taken"),
            // Counted by `check_pieces` instead: what was sold before the import was no stock of the new shop.
            "piece sold twice" => true,
            "missing address unsaid" => named(&self.told),
            "paid order without payment" => named(&self.without_payment),
            "timeline broken" => named(&self.by_hand),
            "request and order differ" => named(&self.overwritten),
            "payment unknown to Stripe" => named(&self.payments),
            _ => false,
        }
    }
}

pub async fn check(world: &World) {
    check_books(world).await;
    check_pieces(world).await;
    check_mail(world).await;
    check_prices(world).await;
    let (code, said, complaint) = world.takeover.beside.run(&["stock", "check"]).await;
    assert_eq!(code, 0, "{said}{complaint}");
}

async fn check_books(world: &World) {
    let shop = &world.takeover.shop;
    let mailbox: Vec<String> = shop
        .mail()
        .into_iter()
        .map(|mail| mail.message_id)
        .collect();
    let mut ours = shop.db.acquire().await.expect("a connection");
    let mut theirs = shop.db.acquire().await.expect("a connection");
    let report = audit(&mut ours, &mut theirs, &mailbox).await;
    let report = report.expect("an audit");
    drop((ours, theirs));
    let former = Former::read(world).await;
    let broken: Vec<String> = report
        .violations
        .iter()
        .filter(|found| !former.explains(found))
        .map(ToString::to_string)
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
    for figure in [
        "payments refunded in full",
        "payments that settled an order",
    ] {
        assert!(report.figures[figure] > 2, "{figure}");
    }
}

/// Every piece was sold once: what there was at the beginning is what both shops sold and what is left.
async fn check_pieces(world: &World) {
    let old = world.old.pieces().await;
    for (product, all) in PIECES {
        let (_, sold_there) = old[product];
        let sold_here: i64 = world
            .takeover
            .one(&format!(
                "select coalesce(sum(l.quantity), 0)::bigint
                 from order_lines l
                 join orders o on o.id = l.order_id
                 where l.product_id = '{product}' and o.paid_at is not null"
            ))
            .await;
        let (on_hand, reserved) = world.takeover.shop.stock(product).await;
        // The old shop holds nothing, so it may have sold a piece twice by itself.
        let oversold = world.old.oversold(product);
        assert_eq!(
            (sold_here + i64::from(on_hand), reserved),
            (all + oversold, 0),
            "{product}: {sold_there} sold there, {sold_here} in all"
        );
        assert!(sold_here >= sold_there, "{product}: a sale is lost");
    }
}

/// Nobody is told of an order by both shops, and nobody by none.
async fn check_mail(world: &World) {
    let there = world.old.mailed();
    let here: Vec<(String, String)> = sqlx::query_as(
        "select p.session_id, p.outcome
         from payments p
         join emails e on e.order_id = p.order_id and e.kind in ('order_confirmation', 'payment_received')
                          and p.outcome = 'settled'
                       or e.dedup_key = 'could_not_fulfill:' || p.id and p.outcome = 'refused'
         where p.session_id is not null",
    )
    .fetch_all(&world.takeover.shop.db)
    .await
    .expect("the emails");
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for session in &there {
        *told.entry(session).or_default() += 1;
    }
    for (session, _) in &here {
        *told.entry(session).or_default() += 1;
    }
    let mut paid = 0;
    for session in world.takeover.shop.at_stripe("checkout.session").await {
        if session["payment_status"] == "paid" {
            let id = session["id"].as_str().expect("an id");
            assert_eq!(told.get(id), Some(&1), "emails about {session}");
            paid += 1;
        }
    }
    assert_eq!(told.len(), paid, "an email without a payment");
    assert!(
        !there.is_empty() && here.len() > 5,
        "{} and {}",
        there.len(),
        here.len()
    );
}

/// Nothing is made anew at Stripe that the old shop had made.
async fn check_prices(world: &World) {
    let prices = world.takeover.shop.at_stripe("price").await;
    for (product, price) in &world.prices {
        let sql = format!("select stripe_price_id from products where id = '{product}'");
        assert_eq!(&world.takeover.one::<String>(&sql).await, price);
        let at_stripe = prices.iter().find(|known| known["id"] == price.as_str());
        assert_eq!(at_stripe.expect("a price")["active"], true, "{product}");
    }
}
