//! Webhooks: signed, posted, and repeated until the endpoint accepts them.

use std::io;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Sandbox;
use crate::error::Error;
use crate::store::now;

/// Seconds until the next attempt, by the number of attempts so far; the last applies to all further ones.
const BACK_OFF: [f64; 5] = [1.0, 5.0, 30.0, 120.0, 600.0];

/// Time for one attempt. Less than the half minute for which a claimed event is ours.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Pause of [`Sandbox::run`] between looks at the clock.
const TICK: Duration = Duration::from_secs(1);

/// An event claimed for delivery.
#[derive(sqlx::FromRow)]
struct Delivery {
    event: String,
    seq: i64,
    attempts: i32,
    data: Value,
}

impl Sandbox {
    /// Returns a fresh `Stripe-Signature` header for a payload.
    ///
    /// Source: <https://docs.stripe.com/webhooks#verify-manually>
    pub fn sign(&self, payload: &str) -> String {
        let time = now();
        let secret = self.inner.settings.webhook_secret.as_bytes();
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        mac.update(format!("{time}.{payload}").as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        format!("t={time},v1={signature}")
    }

    /// Posts each undelivered event that is due, once, oldest first; returns how many were accepted.
    ///
    /// # Errors
    /// [`Error::Database`]. An endpoint that fails is no error: its event is due again later.
    pub async fn deliver_due(&self) -> Result<usize, Error> {
        let (mut accepted, mut last) = (0, 0);
        while let Some(delivery) = self.claim(last).await? {
            last = delivery.seq;
            let (is_accepted, answer) = self.attempt(&delivery.data).await;
            accepted += usize::from(is_accepted);
            let attempts = usize::try_from(delivery.attempts).unwrap_or(1);
            let pause = BACK_OFF[attempts.clamp(1, BACK_OFF.len()) - 1];
            sqlx::query(
                "with delivery as (
                     update stripe_sandbox.deliveries
                     set delivered = case when $2 then now() end, answer = $3, due = now() + make_interval(secs => $4)
                     where event = $1
                 )
                 update stripe_sandbox.objects
                 set data = jsonb_set(data, '{pending_webhooks}', '0')
                 where id = $1 and $2",
            )
            .bind(&delivery.event)
            .bind(is_accepted)
            .bind(answer)
            .bind(pause)
            .execute(&self.inner.db)
            .await?;
        }
        Ok(accepted)
    }

    /// Expires sessions and delivers events as they fall due, until `shutdown` ends.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let work = async {
            loop {
                if let Err(error) = self.expire_due().await {
                    tracing::warn!(%error, "the Stripe sandbox could not expire sessions");
                }
                if let Err(error) = self.deliver_due().await {
                    tracing::warn!(%error, "the Stripe sandbox could not deliver webhooks");
                }
                let _ = tokio::time::timeout(TICK, self.inner.delivery_due.notified()).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = work => {}
        }
    }

    /// Queues an event for delivery, again if it was accepted before.
    pub(crate) async fn send_again(&self, event: &str) -> Result<(), Error> {
        sqlx::query(
            "update stripe_sandbox.deliveries set delivered = null, due = now() where event = $1",
        )
        .bind(event)
        .execute(&self.inner.db)
        .await?;
        self.inner.delivery_due.notify_one();
        Ok(())
    }

    /// Claims the next event that is due for half a minute, so that no transaction stays open during the request and
    /// no other process posts the same event.
    async fn claim(&self, after: i64) -> sqlx::Result<Option<Delivery>> {
        sqlx::query_as(
            "update stripe_sandbox.deliveries
             set due = now() + interval '30 seconds', attempts = attempts + 1
             where event = (
                 select event
                 from stripe_sandbox.deliveries
                 where delivered is null and due <= now() and seq > $1
                 order by seq
                 limit 1
                 for update skip locked
             )
             returning event, seq, attempts, (select data from stripe_sandbox.objects where id = event)",
        )
        .bind(after)
        .fetch_optional(&self.inner.db)
        .await
    }

    /// Posts an event; returns whether the endpoint accepted it, and a word for the dashboard.
    async fn attempt(&self, event: &Value) -> (bool, String) {
        let payload = event.to_string();
        let signature = self.sign(&payload);
        let posting = post(&self.inner.settings.webhook_url, &signature, &payload);
        match tokio::time::timeout(TIMEOUT, posting).await {
            Ok(Ok(status)) => ((200..300).contains(&status), status.to_string()),
            Ok(Err(error)) => (false, error.to_string()),
            Err(_) => (false, "no answer in time".to_owned()),
        }
    }
}

/// Posts a webhook and returns the status of the answer.
///
/// One plain request to the same machine is shorter than the set-up of a client, and reqwest's refuses to be built
/// until the process has chosen a TLS provider.
async fn post(address: &str, signature: &str, payload: &str) -> io::Result<u16> {
    let url = url::Url::parse(address).map_err(io::Error::other)?;
    let host = url
        .host_str()
        .filter(|_| url.scheme() == "http")
        .ok_or_else(|| io::Error::other("webhooks go to plain http"))?;
    let host = format!("{host}:{}", url.port().unwrap_or(80));
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: Stripe/1.0 (sandbox)\r\nconnection: close\r\n\
         content-type: application/json; charset=utf-8\r\nstripe-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        payload.len()
    );
    let mut stream = TcpStream::connect(&host).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(payload.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(65_536).read_to_end(&mut answer).await?;
    answer
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok())
        .ok_or_else(|| io::Error::other("the answer is not HTTP"))
}
