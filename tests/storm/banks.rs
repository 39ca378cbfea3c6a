//! The banks, which decide after the fact: they send refunds back, and take payments back until a dispute is decided.

use std::sync::Arc;

use serde_json::{Value, json};

use super::chance::Chance;
use super::world::World;

pub async fn decide(world: Arc<World>, mut chance: Chance) {
    while !world.is_over() {
        world.pause(chance.millis(500, 5_000)).await;
        match chance.below(3) {
            0 => send_back(&world, &mut chance).await,
            1 => dispute(&world, &mut chance).await,
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

async fn dispute(world: &World, chance: &mut Chance) {
    let recent = "select data ->> 'payment_intent'
                  from stripe_sandbox.objects
                  where object = 'charge' and data ->> 'status' = 'succeeded' and data -> 'disputed' = 'false'
                  order by seq desc
                  limit 40";
    if let Some(payment) = one(world, chance, recent).await {
        let body = json!({ "payment_intent": payment });
        tell(world, "dispute", body, "payments disputed").await;
    }
}

async fn close(world: &World, chance: &mut Chance) {
    let open = "select data ->> 'payment_intent'
                from stripe_sandbox.objects
                where object = 'dispute' and data ->> 'status' = 'needs_response'
                order by seq";
    if let Some(payment) = one(world, chance, open).await {
        let body = json!({"payment_intent": payment, "won": chance.one_in(2)});
        tell(world, "close_dispute", body, "disputes decided").await;
    }
}
