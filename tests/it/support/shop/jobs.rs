//! Jobs, webhooks and the clock of a test's shop.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::Value;
use spirit_beads::app::App;
use spirit_beads::jobs::Job;
use spirit_beads::worker;
use sqlx::PgPool;
use tokio::sync::oneshot;

use super::Shop;
use crate::support::Answer;

/// A worker that runs beside the test.
pub struct AtWork {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl AtWork {
    /// Lets it finish what it began.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.expect("a worker that does not panic");
    }
}

impl Shop {
    /// Does all that the clock does every minute, as a worker does it.
    pub async fn sweep_all(&self) {
        worker::perform(&self.app, Job::Sweep)
            .await
            .expect("a sweep");
    }

    /// Delivers every webhook that Stripe has for us, oldest first; returns how many were taken.
    pub async fn deliver(&self) -> usize {
        self.stripe.deliver_due().await.expect("a delivery")
    }

    /// Posts one event to the webhook, freshly signed, as often as you like.
    pub async fn webhook(&self, event: &Value) -> Answer {
        let payload = event.to_string();
        let signature = self.stripe.sign(&payload);
        self.client
            .send(
                Method::POST,
                "/api/payments/webhook/",
                &[("stripe-signature", &signature)],
                Some(payload),
            )
            .await
    }

    /// Works off the queue until it is empty. A job left over or failed fails the test.
    pub async fn run_jobs(&self) {
        let left = self.run_failing_jobs().await;
        assert!(left.is_empty(), "jobs left over: {left:#?}");
    }

    /// Starts a worker as the program runs it. It stops when it is dropped.
    pub fn works(&self) -> AtWork {
        let (stop, stopped) = oneshot::channel::<()>();
        let app = self.app.clone();
        let task = tokio::spawn(worker::run(app, async {
            // An error means that the test has ended.
            let _ = stopped.await;
        }));
        AtWork { stop, task }
    }

    /// Works off what can run now, and what that queues, and returns what is left: each job's payload and last error.
    pub async fn run_failing_jobs(&self) -> Vec<(Value, Option<String>)> {
        run(&self.app, &self.db).await;
        sqlx::query_as(
            "select payload::jsonb, last_error from graphile_worker._private_jobs order by id",
        )
        .fetch_all(&self.db)
        .await
        .expect("the queue")
    }

    /// Reports whether a statement waits for somebody's lock.
    pub async fn has_a_waiting_lock(&self) -> bool {
        sqlx::query_scalar(
            "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')",
        )
        .fetch_one(&self.db)
        .await
        .expect("the activity")
    }

    /// Lets failed jobs run again at once, as if their back-off had passed.
    pub async fn hurry_jobs(&self) {
        sqlx::query("update graphile_worker._private_jobs set run_at = now()")
            .execute(&self.db)
            .await
            .expect("the queue");
    }

    /// Lets time pass for every checkout, refund, quote, email and image, and for the keys that Stripe knows: what is counted from now on is this much older.
    pub async fn wait(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        for sql in [
            "update checkouts
             set created_at = created_at - make_interval(secs => $1),
                 updated_at = updated_at - make_interval(secs => $1),
                 expires_at = expires_at - make_interval(secs => $1),
                 hold_until = hold_until - make_interval(secs => $1)",
            "update idempotency_keys set created_at = created_at - make_interval(secs => $1)",
            "update images
             set last_used_at = last_used_at - make_interval(secs => $1),
                 created_at = created_at - make_interval(secs => $1)",
            "update refunds
             set created_at = created_at - make_interval(secs => $1),
                 updated_at = updated_at - make_interval(secs => $1)",
            "update stripe_sandbox.idempotency_keys set created = created - make_interval(secs => $1)",
            "update custom_order_quotes
             set created_at = created_at - make_interval(secs => $1),
                 updated_at = updated_at - make_interval(secs => $1),
                 asked_at = asked_at - make_interval(secs => $1),
                 valid_until = valid_until - make_interval(secs => $1)",
            "update emails
             set trying_since = trying_since - make_interval(secs => $1),
                 tried_at = tried_at - make_interval(secs => $1),
                 due_at = due_at - make_interval(secs => $1)",
        ] {
            sqlx::query(sql)
                .bind(seconds)
                .execute(&self.db)
                .await
                .expect("time passes");
        }
    }

    /// Does what the clock does every minute.
    pub async fn sweep(&self) -> spirit_beads::payments::CheckoutSweep {
        spirit_beads::payments::sweep(&self.app)
            .await
            .expect("a sweep")
    }

    /// Does what the clock does every hour.
    pub async fn sweep_images(&self) -> spirit_beads::images::ImageSweep {
        spirit_beads::images::sweep(&self.app.storage, &self.db)
            .await
            .expect("a sweep")
    }

    /// Does what the clock does every five minutes.
    pub async fn reconcile(&self) -> spirit_beads::payments::Reconciled {
        spirit_beads::payments::reconcile(&self.app, &|_, _| {})
            .await
            .expect("a reconciliation")
    }

    /// Lets Stripe deliver again at once what was not taken, as if its back-off had passed.
    pub async fn hurry_webhooks(&self) {
        sqlx::query("update stripe_sandbox.deliveries set due = now()")
            .execute(&self.db)
            .await
            .expect("the deliveries");
    }
}

/// Works off the jobs that can run now, and those that they queue.
pub(super) async fn run(app: &App, db: &PgPool) {
    loop {
        worker::run_once(app).await.expect("a run of the queue");
        // A run may end while one of its last jobs queues another, and an email may have waited for an earlier one to
        // the same customer: its turn has come.
        let due = sqlx::query(
            "update graphile_worker._private_jobs
             set run_at = least(run_at, now())
             where (run_at <= now()
                    or payload ->> 'job' = 'send_email' and last_error is null
                       and run_at <= now() + interval '1 second')
               and locked_at is null
               and attempts < max_attempts",
        )
        .execute(db)
        .await
        .expect("the queue");
        if due.rows_affected() == 0 {
            break;
        }
    }
}

/// Makes every job due, those of a worker that is gone, too; returns whether there is any.
pub(super) async fn hurry_all(db: &PgPool) -> bool {
    let jobs = sqlx::query(
        "with queues as (update graphile_worker._private_job_queues set locked_at = null, locked_by = null)
         update graphile_worker._private_jobs set run_at = now(), locked_at = null, locked_by = null",
    )
    .execute(db)
    .await
    .expect("the queue");
    jobs.rows_affected() > 0
}

/// The jobs that fail, and those that have been due since before the queue was worked off. Others wait for a time that
/// was to come then, such as the turn of an email behind another one.
pub(super) async fn failed(db: &PgPool, began: DateTime<Utc>) -> Vec<(Value, Option<String>)> {
    sqlx::query_as(
        "select payload::jsonb, last_error
         from graphile_worker._private_jobs
         where last_error is not null or run_at <= $1
         order by id",
    )
    .bind(began)
    .fetch_all(db)
    .await
    .expect("the queue")
}
