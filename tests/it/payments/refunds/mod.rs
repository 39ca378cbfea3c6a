//! Refunds that we owe are made in the end (P2), are told once, and are what Stripe says they are, in whatever order it
//! says so.

mod again;
mod announcements;
mod planned;

use reqwest::Method;
use serde_json::Value;
use spirit_beads::auth::Scope;
use stripe_sandbox::Fault;

use crate::support::{Answer, Client, Shop, card, session_of};

const REFUND: &str = "POST /v1/refunds";

const ORDER: &str = "/api/admin/orders/SB-1001/";

/// A shop whose first order, SB-1001 over $52.00, is paid; with its session and somebody who may refund it.
async fn one_sold() -> (Shop, String, Client) {
    let shop = Shop::open().await;
    let session = shop.sells_only("Sunrise").await;
    let admin = shop.refunder().await;
    (shop, session, admin)
}

fn refused(code: &str) -> Fault {
    Fault::Refused {
        code: code.to_owned(),
        message: "Not now.".to_owned(),
        param: None,
    }
}

impl Shop {
    async fn refunder(&self) -> Client {
        self.admin(&[
            Scope::OrdersRead,
            Scope::OrdersWrite,
            Scope::CustomOrders,
            Scope::Refunds,
        ])
        .await
    }

    /// Sells the only piece of this name; returns the session.
    async fn sells_only(&self, name: &str) -> String {
        let piece = self.stocks(name, 1).await;
        let session = session_of(&self.client.check_out(&[(&piece, 1)]).await);
        self.stripe.pay(&session, card()).await.expect("a payment");
        self.hears().await;
        assert_eq!(self.status_of(&session).await, "paid");
        session
    }

    /// Hears of all that Stripe has to tell, and does what follows.
    async fn hears(&self) {
        self.run_jobs().await;
        self.deliver().await;
        self.run_jobs().await;
    }

    async fn review_text(&self, session: &str) -> String {
        let order = self.order(session).await;
        order["review_items"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The idempotency keys of the requests for refunds, oldest first, each once.
    fn refund_keys(&self) -> Vec<String> {
        let requests = self.stripe.requests();
        let refunds = requests
            .iter()
            .filter(|request| request.operation == REFUND);
        let mut keys: Vec<String> = refunds
            .map(|request| request.idempotency_key.clone().expect("a key"))
            .collect();
        keys.dedup();
        keys
    }
}

async fn act(admin: &Client, path: &str) -> Answer {
    admin.send(Method::POST, path, &[], None::<String>).await
}

/// Entries of refunds on the timeline.
async fn refund_lines(admin: &Client, path: &str) -> Vec<(String, String)> {
    let view = admin.get(path).await.json;
    let entries = view["timeline"].as_array().expect("a timeline").iter();
    entries
        .filter(|entry| entry["kind"] == "refund")
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            (text("actor"), text("note"))
        })
        .collect()
}

async fn money(admin: &Client) -> Value {
    admin.get(&format!("{ORDER}payments/")).await.json
}
