//! Webhooks: signed, posted, and tried again until they are taken.
use std::future::Future;
use std::io;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Sandbox;
use super::store::now;

/// Seconds until an attempt is made again, by how many there were; then always the last.
const BACK_OFF: [f64; 5] = [1.0, 5.0, 30.0, 120.0, 600.0];

/// An event on its way.
#[derive(sqlx::FromRow)]
struct Delivery {
    event: String,
    seq: i64,
    attempts: i32,
    data: Value,
}

impl Sandbox {
    /// A fresh `Stripe-Signature` header for a payload.
    pub fn sign(&self, payload: &str) -> String {
        let time = now();
        let secret = self.inner.settings.webhook_secret.as_bytes();
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        mac.update(format!("{time}.{payload}").as_bytes());
        let hex: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("t={time},v1={hex}")
    }

    /// Posts each undelivered event that is due, once, oldest first; answers how many were taken.
    pub async fn deliver_due(&self) -> anyhow::Result<usize> {
        let (mut delivered, mut last) = (0, 0);
        while let Some(delivery) = self.claim(last).await? {
            last = delivery.seq;
            let (taken, answer) = self.post(&delivery.data).await;
            delivered += usize::from(taken);
            let step = usize::try_from(delivery.attempts)
                .unwrap_or(1)
                .clamp(1, BACK_OFF.len())
                - 1;
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
            .bind(taken)
            .bind(answer)
            .bind(BACK_OFF[step])
            .execute(&self.inner.db)
            .await?;
        }
        Ok(delivered)
    }

    /// Expires sessions and delivers events as they fall due, until told to stop.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let work = async {
            loop {
                for outcome in [self.expire_due().await, self.deliver_due().await] {
                    if let Err(error) = outcome {
                        tracing::warn!(%error, "the Stripe sandbox stumbled");
                    }
                }
                let news = self.inner.news.notified();
                let _ = tokio::time::timeout(Duration::from_secs(1), news).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = work => {}
        }
    }

    /// Posts an event again, whether or not it was taken before.
    pub(super) async fn send_again(&self, event: &str) -> anyhow::Result<()> {
        let again = sqlx::query(
            "update stripe_sandbox.deliveries set delivered = null, due = now() where event = $1",
        );
        again.bind(event).execute(&self.inner.db).await?;
        self.inner.news.notify_one();
        Ok(())
    }

    /// Takes the next event that is due. It is ours for half a minute, so no transaction is open while we post.
    async fn claim(&self, after: i64) -> anyhow::Result<Option<Delivery>> {
        let claimed = sqlx::query_as(
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
        );
        Ok(claimed.bind(after).fetch_optional(&self.inner.db).await?)
    }

    async fn post(&self, event: &Value) -> (bool, String) {
        let payload = event.to_string();
        let signature = self.sign(&payload);
        match tokio::time::timeout(
            Duration::from_secs(10),
            post(&self.inner.settings.webhook_url, &signature, &payload),
        )
        .await
        {
            Ok(Ok(status)) => ((200..300).contains(&status), status.to_string()),
            Ok(Err(error)) => (false, error.to_string()),
            Err(_) => (false, "no answer in time".into()),
        }
    }
}

/// Posts a webhook and answers its status. By hand: one plain request to our own machine is shorter than the set-up
/// of a client, and reqwest's refuses to be built until a TLS provider is chosen for the process.
async fn post(address: &str, signature: &str, payload: &str) -> io::Result<u16> {
    let url = url::Url::parse(address).map_err(io::Error::other)?;
    let host = url.host_str().filter(|_| url.scheme() == "http");
    let host = format!(
        "{}:{}",
        host.ok_or_else(|| io::Error::other("webhooks go to plain http"))?,
        url.port().unwrap_or(80)
    );
    let mut line = TcpStream::connect(&host).await?;
    let (path, query) = (
        url.path(),
        url.query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default(),
    );
    let head = format!(
        "POST {path}{query} HTTP/1.1\r\nhost: {host}\r\nuser-agent: Stripe/1.0 (sandbox)\r\nconnection: close\r\n\
         content-type: application/json; charset=utf-8\r\nstripe-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        payload.len()
    );
    line.write_all(head.as_bytes()).await?;
    line.write_all(payload.as_bytes()).await?;
    let mut answer = Vec::new();
    line.take(65_536).read_to_end(&mut answer).await?;
    let status = answer
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok());
    status.ok_or_else(|| io::Error::other("the answer is not HTTP"))
}
