//! Hours that pass: time is moved in the data of both databases, not slept. What is counted from now on is this much
//! older; what has its own moment (when something was paid, or happened at Stripe) keeps it.

use std::time::Duration;

use sqlx::PgPool;

use super::world::World;

/// How the shop's deadlines come nearer, by `$1` seconds. What a living process is in the middle of stays: a dialogue
/// with the mail server or a job does not last for hours.
const OF_THE_SHOP: [&str; 7] = [
    "update checkouts
     set created_at = created_at - make_interval(secs => $1), updated_at = updated_at - make_interval(secs => $1),
         expires_at = expires_at - make_interval(secs => $1), hold_until = hold_until - make_interval(secs => $1)
     where state not in ('complete', 'expired', 'refused')",
    "update idempotency_keys set created_at = created_at - make_interval(secs => $1)",
    "update refunds
     set created_at = created_at - make_interval(secs => $1), updated_at = updated_at - make_interval(secs => $1)
     where state = 'planned'",
    "update custom_order_quotes
     set created_at = created_at - make_interval(secs => $1), updated_at = updated_at - make_interval(secs => $1),
         valid_until = valid_until - make_interval(secs => $1)",
    // Not since when they are tried: hours that pass would soon be the four days after which a letter is given up.
    "update letters
     set tried_at = tried_at - make_interval(secs => $1), due_at = due_at - make_interval(secs => $1)
     where state = 'queued' or (state = 'sending' and tried_at < now() - interval '45 seconds')",
    "update graphile_worker._private_jobs
     set run_at = run_at - make_interval(secs => $1)
     where locked_at is null",
    "update graphile_worker._private_workers
     set last_heartbeat_at = last_heartbeat_at - make_interval(secs => $1)
     where last_heartbeat_at < now() - interval '20 seconds'",
];

/// The same at Stripe.
const OF_STRIPE: [&str; 2] = [
    "update stripe_sandbox.objects
     set data = jsonb_set(data, '{expires_at}', to_jsonb((data ->> 'expires_at')::bigint - $1::bigint))
     where object = 'checkout.session' and data ->> 'status' = 'open'",
    "update stripe_sandbox.deliveries set due = due - make_interval(secs => $1) where delivered is null",
];

/// The keys that Stripe knew at `$2`.
const KEYS: &str = "update stripe_sandbox.idempotency_keys
     set created = created - make_interval(secs => $1)
     where created < $2";

/// Longer than any call to Stripe, with its repeats.
const CALL: Duration = Duration::from_secs(12);

/// Lets hours pass for shop and Stripe. A shop that is down at that moment misses them, as a stopped clock would.
///
/// A key of a call is forgotten only where the shop, too, knows that the call is as old: never in the middle of one.
pub async fn pass(world: &World, hours: f64) {
    let seconds = hours * 3600.0;
    let known = chrono::Utc::now();
    let mut all = true;
    for sql in OF_THE_SHOP {
        all &= apply(&world.shop, sql, seconds).await;
    }
    for sql in OF_STRIPE {
        apply(&world.stripe, sql, seconds).await;
    }
    if all {
        let stripe = world.stripe.clone();
        tokio::spawn(async move {
            tokio::time::sleep(CALL).await;
            // The storm may be over by then.
            let _ = sqlx::query(KEYS)
                .bind(seconds)
                .bind(known)
                .execute(&stripe)
                .await;
        });
    }
    world.tally.add("times that hours passed");
}

/// False: a lock that was held for long, a server that was down.
async fn apply(db: &PgPool, sql: &'static str, seconds: f64) -> bool {
    let changed = sqlx::query(sql).bind(seconds).execute(db);
    let changed = tokio::time::timeout(Duration::from_secs(5), changed).await;
    matches!(changed, Ok(Ok(_)))
}

/// Has the clock's jobs done now, which otherwise come each minute and each five.
pub async fn strike(world: &World) {
    for job in ["sweep", "reconcile"] {
        let queued = sqlx::query(
            "select graphile_worker.add_job('spirit_beads', json_build_object('job', $1::text), job_key := $1::text)",
        );
        let _ = queued.bind(job).execute(&world.shop).await;
    }
}
