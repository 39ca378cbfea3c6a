//! Emails.

mod admin;
mod connections;
mod contents;
mod delivery;
mod orders;
mod snapshots;
mod voice;

use std::time::Duration;

use serde_json::Value;
use spirit_beads::emails::{self, About, Email};
use spirit_beads::jobs::Job;
use spirit_beads::types::ids::EmailId;
use spirit_beads::worker;
use uuid::Uuid;

use crate::support::{MailServer, Shop, card, session_of};

const MINUTE: Duration = Duration::from_secs(60);

impl Shop {
    /// Sells a piece by card; the webhooks are delivered, and the shopper's email waits in the queue, alone: the shop's own
    /// is taken out. Returns the session.
    pub async fn sells_one(&self, name: &str) -> String {
        let piece = self.stocks(name, 1).await;
        let session = session_of(&self.client.check_out(&[(&piece, 1)]).await);
        self.stripe.pay(&session, card()).await.expect("a payment");
        self.deliver().await;
        sqlx::query("delete from emails where kind = 'you_sold'")
            .execute(&self.db)
            .await
            .expect("no notice");
        session
    }

    /// Queues an email to this address about the order of a session.
    async fn queues(&self, email: &Email, recipient: &str, session: &str) {
        let order = self.order(session).await;
        let order = order["id"].as_str().and_then(|id| id.parse().ok());
        let mut tx = self.db.begin().await.expect("a transaction");
        let about = About::order(spirit_beads::types::ids::OrderId(order.expect("an id")));
        let cause = Uuid::new_v4().to_string();
        emails::queue(&mut tx, email, &cause, recipient, about)
            .await
            .expect("an email");
        tx.commit().await.expect("a commit");
    }

    /// Every email as the database has it, oldest first.
    async fn emails(&self) -> Vec<Value> {
        sqlx::query_scalar("select to_jsonb(l) from emails l order by created_at, id")
            .fetch_all(&self.db)
            .await
            .expect("the emails")
    }

    /// The one email there is: its state, attempts, and what was said last.
    async fn email(&self) -> (String, i64, String) {
        let mut emails = self.emails().await;
        emails.retain(|email| email["kind"] != "review_item");
        assert_eq!(emails.len(), 1, "{emails:#?}");
        let text = |field: &str| emails[0][field].as_str().unwrap_or_default().to_owned();
        let attempts = emails[0]["attempts"].as_i64().expect("a number");
        (text("state"), attempts, text("last_error"))
    }

    async fn sends(&self, email: EmailId) {
        worker::perform(&self.app, Job::SendEmail { email })
            .await
            .expect("an attempt");
    }

    async fn clock(&self) {
        worker::perform(&self.app, Job::Sweep)
            .await
            .expect("a sweep");
    }

    async fn loses_its_jobs(&self) {
        sqlx::query("delete from graphile_worker._private_jobs")
            .execute(&self.db)
            .await
            .expect("a loss");
    }
}

fn id_of(email: &Value) -> EmailId {
    EmailId(
        email["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("an id"),
    )
}

/// A shop whose emails go to this server.
pub async fn shop_at(server: &MailServer) -> Shop {
    shop_with(server, &[]).await
}

async fn shop_with(server: &MailServer, more: &[(&str, &str)]) -> Shop {
    let url = server.url();
    let mut settings = vec![
        ("SMTP_URL", url.as_str()),
        ("SMTP_TIMEOUT_SECONDS", "1"),
        ("MAIL_FROM", "Spirit Beads <hello@beads.example>"),
        ("SHOP_EMAIL", "owner@beads.example"),
    ];
    settings.extend_from_slice(more);
    Shop::open_with(&settings).await
}

fn sample(kind: &str) -> Email {
    let mut preview = emails::samples().into_iter();
    preview.find(|(name, _)| *name == kind).expect("a sample").1
}
