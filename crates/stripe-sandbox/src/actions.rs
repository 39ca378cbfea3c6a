//! Actions outside of the API: those of customers, of their banks, and of the merchant in Stripe's dashboard.

use serde_json::{Value, json};

use crate::Sandbox;
use crate::error::{ApiResult, Error};
use crate::objects::{checkout, disputes, payment_links, payments, refunds, reviews};
use crate::store::{Transaction, now};
use crate::types::{NewDispute, Payment};

impl Sandbox {
    /// Visits a payment link's page, which opens a session; returns the session's id.
    ///
    /// # Errors
    /// [`Error::Refused`] if the link is unknown, closed or used up.
    pub async fn open_link(&self, link: &str) -> Result<String, Error> {
        self.create(async |tx| payment_links::open(tx, link).await)
            .await
    }

    /// Closes a payment link from the dashboard.
    ///
    /// # Errors
    /// [`Error::Refused`] if the link is unknown.
    pub async fn deactivate_link(&self, link: &str) -> Result<(), Error> {
        let params = json!({"active": false});
        self.change(async |tx| payment_links::update(tx, link, &params).await)
            .await?;
        Ok(())
    }

    /// Presses a button of the hosted payment page.
    ///
    /// # Errors
    /// [`Error::Refused`] if the session is not open, does not ship to the country, or came by a payment link that
    /// takes no more payments. A declined card is no error.
    pub async fn pay(&self, session: &str, payment: Payment) -> Result<(), Error> {
        self.expire_due().await?;
        self.change(async |tx| payments::pay(tx, session, &payment).await)
            .await?;
        Ok(())
    }

    /// Ends the wait for a delayed payment.
    ///
    /// # Errors
    /// [`Error::Refused`] if the session waits for none.
    pub async fn settle_delayed(&self, session: &str, succeeds: bool) -> Result<(), Error> {
        self.change(async |tx| payments::settle(tx, session, succeeds).await)
            .await?;
        Ok(())
    }

    /// Expires an open session before its time.
    ///
    /// # Errors
    /// [`Error::Refused`] if the session is not open.
    pub async fn expire(&self, session: &str) -> Result<(), Error> {
        self.change(async |tx| checkout::expire(tx, session).await)
            .await?;
        Ok(())
    }

    /// Refunds a payment from the dashboard, in full without an amount; returns the refund's id.
    ///
    /// # Errors
    /// [`Error::Refused`] if that much is not left, or a dispute has withdrawn the money.
    pub async fn refund(&self, payment_intent: &str, amount: Option<i64>) -> Result<String, Error> {
        let params = json!({"payment_intent": payment_intent, "amount": amount});
        self.create(async |tx| refunds::create(tx, &params).await)
            .await
    }

    /// Fails a refund: the customer's bank sent the money back.
    ///
    /// # Errors
    /// [`Error::Refused`] if the refund is unknown or has failed before.
    pub async fn fail_refund(&self, refund: &str) -> Result<(), Error> {
        self.change(async |tx| refunds::fail(tx, refund).await)
            .await?;
        Ok(())
    }

    /// Disputes a payment as fraudulent; returns the dispute's id.
    ///
    /// # Errors
    /// [`Error::Refused`] if the payment has no charge, or an open dispute.
    pub async fn dispute(&self, payment_intent: &str) -> Result<String, Error> {
        self.dispute_as(payment_intent, &NewDispute::default())
            .await
    }

    /// Disputes a payment, or inquires about it; returns the dispute's id.
    ///
    /// # Errors
    /// [`Error::Refused`] if the payment has no charge, or an open dispute.
    pub async fn dispute_as(
        &self,
        payment_intent: &str,
        dispute: &NewDispute,
    ) -> Result<String, Error> {
        self.create(async |tx| disputes::open(tx, payment_intent, dispute).await)
            .await
    }

    /// Turns a payment's open inquiry into a dispute.
    ///
    /// # Errors
    /// [`Error::Refused`] if the payment has no open inquiry.
    pub async fn escalate_dispute(&self, payment_intent: &str) -> Result<(), Error> {
        self.change(async |tx| disputes::escalate(tx, payment_intent).await)
            .await?;
        Ok(())
    }

    /// Submits the merchant's evidence for a payment's open dispute.
    ///
    /// # Errors
    /// [`Error::Refused`] if the payment has no open dispute.
    pub async fn answer_dispute(&self, payment_intent: &str) -> Result<(), Error> {
        self.change(async |tx| disputes::submit_evidence(tx, payment_intent).await)
            .await?;
        Ok(())
    }

    /// Decides a payment's open dispute.
    ///
    /// # Errors
    /// [`Error::Refused`] if the payment has no open dispute.
    pub async fn close_dispute(&self, payment_intent: &str, won: bool) -> Result<(), Error> {
        self.change(async |tx| disputes::close(tx, payment_intent, won).await)
            .await?;
        Ok(())
    }

    /// Sends the card issuer's early fraud warning about a payment; returns the warning's id.
    ///
    /// # Errors
    /// [`Error::Refused`] if the payment has no charge.
    pub async fn warn_of_fraud(&self, payment_intent: &str) -> Result<String, Error> {
        self.create(async |tx| reviews::warn_of_fraud(tx, payment_intent).await)
            .await
    }

    /// Puts a payment under review; returns the review's id.
    ///
    /// # Errors
    /// [`Error::Refused`] if the payment has no charge, or is under review.
    pub async fn open_review(&self, payment_intent: &str) -> Result<String, Error> {
        self.create(async |tx| reviews::open(tx, payment_intent).await)
            .await
    }

    /// Approves a payment under review, from the dashboard.
    ///
    /// # Errors
    /// [`Error::Refused`] if the payment is not under review.
    pub async fn approve_review(&self, payment_intent: &str) -> Result<(), Error> {
        self.change(async |tx| reviews::approve(tx, payment_intent).await)
            .await?;
        Ok(())
    }

    /// Expires the open sessions whose time has come; returns how many. [`Sandbox::run`] does this by itself.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn expire_due(&self) -> Result<usize, Error> {
        let expired = self.change_quietly(async |tx| {
            let due: Vec<String> = sqlx::query_scalar(
                "select id
                 from stripe_sandbox.objects
                 where object = 'checkout.session'
                   and data ->> 'status' = 'open'
                   and (data ->> 'expires_at')::bigint <= $1
                 order by seq
                 for update skip locked",
            )
            .bind(now())
            .fetch_all(&mut *tx.conn)
            .await?;
            for session in &due {
                checkout::expire(tx, session).await?;
            }
            Ok(due.len())
        });
        Ok(expired.await?)
    }

    /// Runs a change that makes an object; returns the object's id.
    async fn create(
        &self,
        change: impl AsyncFnOnce(&mut Transaction<'_>) -> ApiResult<Value>,
    ) -> Result<String, Error> {
        let object = self.change(change).await?;
        Ok(object["id"].as_str().unwrap_or_default().to_owned())
    }
}
