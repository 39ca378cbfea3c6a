//! The banks, which decide after the fact: they send refunds back, and take payments back until a dispute is decided.

use std::sync::Arc;

use serde_json::{Value, json};

use super::rng::Chance;
use super::state::World;

pub async fn decide(world: Arc<World>, mut chance: Chance) {
    while !world.is_over() {
        world.pause(chance.millis(500, 5_000)).await;
        match chance.below(8) {
            0 | 1 => send_back(&world, &mut chance).await,
            2 | 3 => dispute(&world, &mut chance).await,
            4 => go_on(&world, &mut chance).await,
            5 => warn(&world, &mut chance).await,
            _ => close(&world, &mut chance).await,
        }
    }
}

/// One of the ids that a query finds at Stripe.
async fn one(world: &World, chance: &mut Chance, sql: &'static str) -> Option<String> {
    let found: Vec<String> = sqlx::query_scalar(sql)
        .fetch_all(&world.stripe)
        .await
        .ok()?;
    (!found.is_empty()).then(|| chance.pick(&found).clone())
}

/// Has Stripe hear of it.
async fn tell(world: &World, switch: &str, body: Value, what: &str) {
    if world.switch(switch, &body).await.is_some() {
        world.tally.add(what);
    }
}

/// A refund that cannot reach its card, at times in the very second in which it was made.
async fn send_back(world: &World, chance: &mut Chance) {
    let recent = "select id
                  from stripe_sandbox.objects
                  where object = 'refund' and data ->> 'status' = 'succeeded'
                  order by seq desc
                  limit 20";
    if let Some(refund) = one(world, chance, recent).await {
        let body = json!({ "refund": refund });
        tell(world, "fail_refund", body, "refunds sent back by a bank").await;
    }
}

/// Recent payments, whatever banks have said of them.
const RECENT: &str = "select data ->> 'payment_intent'
                      from stripe_sandbox.objects
                      where object = 'charge' and data ->> 'status' = 'succeeded'
                      order by seq desc
                      limit 40";

/// Disputes of which the bank has not decided.
const OPEN: &str = "select data ->> 'payment_intent'
                    from stripe_sandbox.objects
                    where object = 'dispute' and data ->> 'status' not in ('won', 'lost', 'warning_closed')
                    order by seq";

/// A dispute or an inquiry; some payments have several, one after the other.
async fn dispute(world: &World, chance: &mut Chance) {
    if let Some(payment) = one(world, chance, RECENT).await {
        let body = json!({
            "payment_intent": payment,
            "is_inquiry": chance.one_in(3),
            "reason": "product_not_received",
        });
        tell(world, "dispute", body, "payments disputed").await;
    }
}

/// An inquiry becomes a dispute, or the shop answers.
async fn go_on(world: &World, chance: &mut Chance) {
    if let Some(payment) = one(world, chance, OPEN).await {
        let switch = match chance.one_in(2) {
            true => "escalate_dispute",
            false => "answer_dispute",
        };
        let body = json!({ "payment_intent": payment });
        tell(world, switch, body, "disputes that went on").await;
    }
}

/// A fraud warning, or a review that is opened or approved.
async fn warn(world: &World, chance: &mut Chance) {
    if let Some(payment) = one(world, chance, RECENT).await {
        let switch = ["warn_of_fraud", "open_review", "approve_review"][chance.below(3) as usize];
        let body = json!({ "payment_intent": payment });
        tell(world, switch, body, "warnings and reviews").await;
    }
}

async fn close(world: &World, chance: &mut Chance) {
    if let Some(payment) = one(world, chance, OPEN).await {
        let body = json!({"payment_intent": payment, "won": chance.one_in(2)});
        tell(world, "close_dispute", body, "disputes decided").await;
    }
}
