//! Custom orders, from the request to the shipment.

mod corrections;
mod lifecycle;
mod links;
mod messages;
pub mod payment_links;
mod payments;
mod quotes;
mod refunds;
mod requests;
mod snapshots;
mod status_page;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::auth::Scope;
use stripe_sandbox::Payment;

use crate::support::{Answer, Client, Shop};

const LINKS: &str = "POST /v1/payment_links";

const CLOSING: &str = "POST /v1/payment_links/{id}";

/// A shop with one request in it, and its user.
struct Workshop {
    shop: Shop,
    admin: Client,
    id: String,
}

impl Workshop {
    async fn open() -> Workshop {
        let shop = Shop::open().await;
        let admin = shop.admin(&[Scope::CustomOrders]).await;
        let id = shop.asks_for_a_piece("ann@example.com").await;
        Workshop { shop, admin, id }
    }

    /// A workshop whose request is quoted for 90 dollars and 5 for the shipment, and approved. Returns the link, too.
    async fn quoted() -> (Workshop, String) {
        let workshop = Workshop::open().await;
        let link = workshop.quotes(9000).await;
        (workshop, link)
    }

    /// Quotes, approves, and returns the link that the customer is sent.
    async fn quotes(&self, amount: i64) -> String {
        let quoted = self.put("quote", &quote(amount)).await;
        assert_eq!(quoted.status, 200, "{}", quoted.text);
        assert_eq!(self.post("approve").await.status, 202);
        self.shop.run_jobs().await;
        let view = self.view().await;
        assert_eq!(view["status"], "approved", "{view:#}");
        text(&current(&view)["payment_link_id"])
    }

    async fn view(&self) -> Value {
        let answer = self.admin.get(&self.path("")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json
    }

    async fn status(&self) -> String {
        text(&self.view().await["status"])
    }

    fn path(&self, tail: &str) -> String {
        format!("/api/admin/custom-orders/{}/{tail}", self.id)
    }

    async fn post(&self, what: &str) -> Answer {
        self.admin
            .send(Method::POST, &self.path(what), &[], None::<String>)
            .await
    }

    async fn post_with(&self, what: &str, body: &Value) -> Answer {
        self.admin.post(&self.path(what), body).await
    }

    async fn put(&self, what: &str, body: &Value) -> Answer {
        self.admin
            .send_json(Method::PUT, &self.path(what), body)
            .await
    }

    /// The customer opens the link's page; returns its session.
    async fn opens(&self, link: &str) -> String {
        self.shop.stripe.open_link(link).await.expect("a page")
    }

    /// The customer opens the link and pays.
    async fn pays(&self, link: &str, how: Payment) -> String {
        let session = self.opens(link).await;
        self.shop
            .stripe
            .pay(&session, how)
            .await
            .expect("a payment");
        session
    }

    /// The link as Stripe has it.
    async fn is_active(&self, link: &str) -> bool {
        let links = self.shop.at_stripe("payment_link").await;
        let found = links.iter().find(|object| object["id"] == link);
        found.expect("the link")["active"] == true
    }

    /// Moves of a request on the timeline.
    async fn moves(&self) -> Vec<String> {
        let view = self.view().await;
        let timeline = view["timeline"].as_array().expect("a timeline");
        timeline
            .iter()
            .filter(|entry| entry["kind"] == "status")
            .map(|entry| {
                format!(
                    "{}→{}",
                    text(&entry["from_status"]),
                    text(&entry["to_status"])
                )
            })
            .collect()
    }

    async fn emails(&self, kind: &str) -> i64 {
        self.shop.emails_of(kind).await
    }
}

fn quote(amount: i64) -> Value {
    json!({"amount": amount, "description": "One Classic case, loomed, blue and gold"})
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// The quote of a request that counts.
fn current(view: &Value) -> &Value {
    let quotes = view["quotes"].as_array().expect("quotes");
    let counts = |quote: &&Value| {
        ["asking", "live", "closing", "paid"].contains(&quote["state"].as_str().unwrap_or_default())
    };
    let found = quotes.iter().find(counts);
    found.unwrap_or_else(|| panic!("no quote counts: {view:#}"))
}
