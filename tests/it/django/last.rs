//! The final import: what only Stripe knows is asked and told, and all of it can be repeated.

use serde_json::{Value, json};

use super::{Takeover, in_postgres, sample};
use crate::payments::stripe_requests;
use crate::support::{Client, STRIPE_KEY, card};

const HELD: &str = "5875c9bc-32c8-4f0b-9a75-3d6b0b039935";
const LEFT: &str = "f99af41b-5060-4d99-9906-1c0bd8a0425c";
const LOST: &str = "d1cdaf2f-9bed-439f-b3c2-d4647839adb7";
const PAID: &str = "c65ae89d-5417-40a3-b10b-b138611f4dc3";
const LIVE_LINK: &str = "9f81b6f0-27f7-4166-a6d5-b1668d64e137";
const SHIPPED_PIECE: &str = "21b166d7-d563-4e7f-9d3a-b4422036291a";

fn plain(id: &str) -> String {
    id.replace('-', "")
}

impl Takeover {
    /// What Stripe answers to a request of the old shop.
    pub(super) async fn asks_stripe(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let url = self.shop.app.config.stripe.api_url.as_deref();
        let client = Client::to(url.expect("the sandbox's address")).with_token(STRIPE_KEY);
        let fields: Vec<(String, String)> = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let answer = client.submit(&format!("/v1/{path}"), &fields).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json
    }

    /// A payment page of the old shop.
    async fn page(&self, amount: &str) -> String {
        let params = [
            ("mode", "payment"),
            ("success_url", "https://old.example.com/success"),
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", "usd"),
            ("line_items[0][price_data][unit_amount]", amount),
            ("line_items[0][price_data][product_data][name]", "Sunrise"),
            ("shipping_address_collection[allowed_countries][0]", "US"),
        ];
        text(&self.asks_stripe("checkout/sessions", &params).await["id"])
    }

    /// A payment link of the old shop: its id and its address.
    pub(super) async fn link(&self, request: &str, amount: &str) -> (String, String) {
        let params = [
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", "usd"),
            ("line_items[0][price_data][unit_amount]", amount),
            (
                "line_items[0][price_data][product_data][name]",
                "Custom piece",
            ),
            ("metadata[custom_request_id]", request),
        ];
        let link = self.asks_stripe("payment_links", &params).await;
        (text(&link["id"]), text(&link["url"]))
    }

    /// An old shop whose products, pages and links Stripe knows.
    async fn known_to_stripe(&self) -> Known {
        let product = text(
            &self
                .asks_stripe("products", &[("name", "Odd steady")])
                .await["id"],
        );
        let params = [
            ("currency", "usd"),
            ("unit_amount", "4500"),
            ("product", &product),
        ];
        let price = text(&self.asks_stripe("prices", &params).await["id"]);
        let [held, left, lost, paid] = [
            self.page("4500").await,
            self.page("4500").await,
            self.page("4500").await,
            self.page("14000").await,
        ];
        for session in [&lost, &paid] {
            self.shop
                .stripe
                .pay(session, card())
                .await
                .expect("a payment");
        }
        let payment = self.shop.payment_of(&paid).await;
        self.asks_stripe(
            "refunds",
            &[("payment_intent", &payment), ("amount", "4000")],
        )
        .await;
        let (live, live_url) = self.link(LIVE_LINK, "18000").await;
        let (over, over_url) = self.link(SHIPPED_PIECE, "18000").await;
        let minute = |minutes: i64| {
            let at = chrono::Utc::now() - chrono::TimeDelta::minutes(minutes);
            at.format("%Y-%m-%d %H:%M:%S").to_string()
        };
        let (young, old) = (minute(5), minute(60));
        let [held_id, left_id, lost_id, paid_id, live_id, over_id] =
            [HELD, LEFT, LOST, PAID, LIVE_LINK, SHIPPED_PIECE].map(plain);
        self.change(&format!(
            "update products_product set stripe_product_id = null, stripe_price_id = null;
             update products_product set stripe_product_id = '{product}', stripe_price_id = '{price}' where id = 'odd-steady';
             update orders_order set stripe_session_id = '{held}', created_at = '{young}' where id = '{held_id}';
             update orders_order set stripe_session_id = '{left}', created_at = '{old}' where id = '{left_id}';
             update orders_order set stripe_session_id = '{lost}', created_at = '{old}' where id = '{lost_id}';
             update orders_orderitem set product_id = 'odd-steady' where order_id = '{lost_id}';
             update orders_order set stripe_session_id = '{paid}', stripe_payment_intent = '{payment}' where id = '{paid_id}';
             update custom_orders_customorderrequest set stripe_payment_link = '{live_url}' where id = '{live_id}';
             update custom_orders_customorderrequest set stripe_payment_link = '{over_url}' where id = '{over_id}';"
        ))
        .await;
        Known {
            held,
            left,
            live,
            over,
            product,
        }
    }

    async fn status(&self, id: &str) -> String {
        self.one(&format!("select status from orders where id = '{id}'"))
            .await
    }
}

/// Ids at Stripe.
struct Known {
    held: String,
    left: String,
    live: String,
    over: String,
    product: String,
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn the_final_import_settles_at_stripe_what_the_old_shop_did_not_hear_of() {
    settles(&Takeover::begin().await).await;
}

#[tokio::test]
async fn the_final_import_from_postgresql_settles_the_same() {
    let mut takeover = Takeover::begin().await;
    let (_database, url) = in_postgres().await;
    takeover.beside.settings.push(("DJANGO_DATABASE_URL", url));
    settles(&takeover).await;
}

async fn settles(takeover: &Takeover) {
    let known = takeover.known_to_stripe().await;
    takeover.import(&[]).await;
    assert_eq!(takeover.status(LOST).await, "expired");
    let paused = "select count(*) from products where stripe_paused";
    assert_eq!(takeover.one::<i64>(paused).await, 61);
    let calls = takeover.shop.stripe.requests().len();
    takeover.import(&[]).await;
    assert_eq!(
        takeover.shop.stripe.requests().len(),
        calls,
        "Stripe hears nothing before the final import"
    );

    let report = takeover.import(&["--final"]).await;
    let steps = &report["stripe"];
    let step = |name: &str| -> String {
        let steps = steps.as_array().expect("steps");
        let found = steps
            .iter()
            .find(|step| step["name"] == name)
            .expect("a step");
        assert_eq!(found["undone"], json!([]), "{name}");
        text(&found["text"])
    };
    assert_eq!(
        step("products"),
        "58 products follow this shop at Stripe from now on"
    );
    assert!(
        step("unpaid orders").ends_with("1 had been paid unheard of"),
        "{steps}"
    );
    assert_eq!(step("refunds"), "1 refunds read");
    assert_eq!(
        step("payment links"),
        "1 links of open quotes found, 1 links of finished custom orders closed"
    );

    // Stripe does not know the links of the sample's other open quotes.
    assert_eq!(steps[3]["missing"].as_array().map(Vec::len), Some(5));

    // Paid without the old shop's knowledge: it has its piece, and its customer hears of it for the first time.
    assert_eq!(takeover.status(LOST).await, "paid");
    assert_eq!(takeover.shop.stock("odd-steady").await, (49, 0));
    assert_eq!(takeover.shop.emails_of("order_confirmation").await, 1);
    // Its page was open past its hold.
    assert_eq!(
        takeover.shop.session(&known.left).await["status"],
        "expired"
    );
    assert_eq!(takeover.shop.session(&known.held).await["status"], "open");
    assert_eq!(takeover.status(HELD).await, "pending");
    // A refund of the old shop: an amount and an entry, and no email.
    let refunded = format!("select refunded from orders where id = '{PAID}'");
    assert_eq!(takeover.one::<i64>(&refunded).await, 4000);
    let entries =
        format!("select count(*) from order_events where kind = 'refund' and order_id = '{PAID}'");
    assert_eq!(takeover.one::<i64>(&entries).await, 1);
    assert_eq!(takeover.shop.emails_of("order_refunded").await, 0);
    let link =
        format!("select link_id from custom_order_quotes where custom_order_id = '{LIVE_LINK}'");
    assert_eq!(takeover.one::<String>(&link).await, known.live);
    for link in takeover.shop.at_stripe("payment_link").await {
        assert_eq!(
            link["active"],
            json!(link["id"] != known.over.as_str()),
            "{link}"
        );
    }
    let product = "select jsonb_build_array(stripe_paused, stripe_product_id) from products where id = 'odd-steady'";
    assert_eq!(
        takeover.one::<Value>(product).await,
        json!([false, known.product])
    );

    // Each page is asked for again, and when that was is noted with it.
    let but_pages = async || {
        let mut everything = takeover.everything().await;
        everything["checkouts"].take();
        everything
    };
    let before = but_pages().await;
    let again = takeover.import(&["--final"]).await;
    assert_eq!(
        again["stripe"][3]["text"],
        "0 links of open quotes found, 0 links of finished custom orders closed"
    );
    assert_eq!(but_pages().await, before, "nothing is done twice");
    let requests = takeover.shop.stripe.requests();
    stripe_requests::assert_taken(&requests[calls..]);
}

#[tokio::test]
async fn a_key_of_another_account_is_told_nothing() {
    let takeover = Takeover::begin().await;
    // The sandbox knows none of the sample's prices.
    let (code, said, complaint) = takeover.run(&["--final"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(complaint.contains("another Stripe account"), "{complaint}");
    assert_eq!(
        takeover.one::<i64>("select count(*) from orders").await,
        171,
        "the rows are imported"
    );
    let paused = "select bool_and(stripe_paused) from products";
    assert!(takeover.one::<bool>(paused).await);
    assert!(takeover.shop.at_stripe("product").await.is_empty());
}

#[tokio::test]
async fn a_rehearsal_asks_stripe_nothing() {
    let mut takeover = Takeover::begin().await;
    takeover
        .beside
        .settings
        .push(("STRIPE_REHEARSAL", "true".to_owned()));
    let (code, said, complaint) = takeover.run(&["--final"]).await;
    assert_eq!(code, 0, "{complaint}");
    assert!(said.contains("Stripe was asked and told nothing"), "{said}");
    assert!(sample().exists() && takeover.shop.stripe.requests().is_empty());
}
