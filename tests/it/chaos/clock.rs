//! Hours that pass: time is moved in the data of both databases, not slept. What is counted from now on is this much
//! older; what has its own moment (when something was paid, or happened at Stripe) keeps it.

use super::state::World;

/// Statements that bring the shop's deadlines nearer, by `$1` seconds. Work that a living process is in the middle of
/// stays: a dialogue with the mail server or a job does not last for hours.
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
         asked_at = asked_at - make_interval(secs => $1), valid_until = valid_until - make_interval(secs => $1)",
    // Not since when they are tried: hours that pass would soon be the four days after which an email is given up.
    "update emails
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
const OF_STRIPE: [&str; 3] = [
    "update stripe_sandbox.objects
     set data = jsonb_set(data, '{expires_at}', to_jsonb((data ->> 'expires_at')::bigint - $1::bigint))
     where object = 'checkout.session' and data ->> 'status' = 'open'",
    "update stripe_sandbox.idempotency_keys set created = created - make_interval(secs => $1)",
    "update stripe_sandbox.deliveries set due = due - make_interval(secs => $1) where delivered is null",
];

/// Lets hours pass: for the shop first, and for Stripe only once they have passed there whole. Of a shop that is down, or
/// has a lock held for long, they do not pass for Stripe either: no clock runs ahead of the shop's.
pub async fn pass(world: &World, hours: f64) {
    let seconds = hours * 3600.0;
    let shop = async {
        let mut tx = world.shop.begin().await?;
        for sql in OF_THE_SHOP {
            sqlx::query(sql).bind(seconds).execute(&mut *tx).await?;
        }
        tx.commit().await
    };
    let passed = tokio::time::timeout(std::time::Duration::from_secs(5), shop).await;
    if !matches!(passed, Ok(Ok(()))) {
        return;
    }
    for sql in OF_STRIPE {
        let changed = sqlx::query(sql).bind(seconds).execute(&world.stripe);
        changed.await.expect("Stripe's clock");
    }
    world.tally.add("times that hours passed");
}

/// Has the clock's jobs done now, which otherwise come each minute and each five.
pub async fn strike(world: &World) {
    for job in ["sweep", "reconcile"] {
        let queued = sqlx::query(
            "select graphile_worker.add_job('clock', json_build_object('job', $1::text), job_key := $1::text)",
        );
        let _ = queued.bind(job).execute(&world.shop).await;
    }
}
