//! The stage of the switch: both shops, the proxy before them, Stripe, and who buys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use stripe_sandbox::{Buyer, Payment, Sandbox, Settings};

use super::old_service::OldService;
use super::proxy::Proxy;
use crate::chaos::rng::Chance;
use crate::django::Takeover;
use crate::django::quirks::product;
use crate::support::{Answer, Client, PATIENT, STRIPE_KEY, WEBHOOK_SECRET, session_of};

/// Pieces for sale and how many there are. Of some there is one, which both shops could sell.
pub const PIECES: [(&str, i64); 6] = [
    ("switch-many", 90),
    ("switch-few", 6),
    ("switch-a", 1),
    ("switch-b", 1),
    ("switch-c", 1),
    ("switch-d", 1),
];

/// Carts that the old shop's shoppers fill. The others are left for the switch.
const SOLD_BEFORE: [&str; 4] = ["switch-many", "switch-many", "switch-few", "switch-a"];

pub struct World {
    pub takeover: Takeover,
    pub old: OldService,
    pub proxy: Proxy,
    /// Stripe, which tells its events to the proxy.
    pub stripe: Sandbox,
    /// Price ids by product.
    pub prices: BTreeMap<&'static str, String>,
    has_moved: AtomicBool,
    customers: AtomicUsize,
}

impl World {
    pub async fn build() -> World {
        let settings = [PATIENT, ("LIMIT_HELD_PIECES", "1000")];
        let takeover = Takeover::begin_with(&settings).await;
        let prices = sell_at_stripe(&takeover).await;
        let api = takeover.shop.app.config.stripe.api_url.clone();
        let client = Client::to(&api.expect("the sandbox's address")).with_token(STRIPE_KEY);
        let old = OldService::open(&takeover.sqlite, client).await;
        let proxy = Proxy::to(&old.address).await;
        let settings = Settings {
            business_name: "Spirit Beads".to_owned(),
            secret_key: STRIPE_KEY.to_owned(),
            webhook_secret: WEBHOOK_SECRET.to_owned(),
            webhook_url: format!("{}/api/payments/webhook/", proxy.address),
            pages_url: format!("{}/sandbox", proxy.address),
        };
        let stripe = Sandbox::open(takeover.shop.db.clone(), settings).await;
        World {
            takeover,
            old,
            proxy,
            stripe: stripe.expect("a sandbox"),
            prices,
            has_moved: AtomicBool::new(false),
            customers: AtomicUsize::new(0),
        }
    }

    /// Opens the new shop behind the proxy.
    pub async fn open_new(&self) {
        self.proxy.open(&self.takeover.shop.address).await;
        self.has_moved.store(true, Ordering::SeqCst);
    }

    /// Checks out at whichever shop is open. None: the piece is gone.
    pub async fn check_out(&self, product: &str) -> Option<String> {
        loop {
            let browser = Client::to(&self.proxy.address).with_cookies();
            let answer = browser.check_out(&[(product, 1)]).await;
            match answer.status {
                200 => return Some(session_of(&answer)),
                503 if is_the_proxys(&answer) => self.proxy.reopened().await,
                400..500 => return None,
                _ => panic!("{}: {}", answer.status, answer.text),
            }
        }
    }

    /// A page of whichever shop is open.
    pub async fn page(&self, product: &str) -> String {
        let page = self.check_out(product).await;
        page.expect("the piece is there")
    }

    /// Pays a page. False: it is open no more.
    pub async fn pay(&self, session: &str) -> bool {
        let number = self.customers.fetch_add(1, Ordering::SeqCst);
        let buyer = Buyer {
            email: format!("shopper{number}@example.com"),
            ..Buyer::default()
        };
        self.stripe.pay(session, Payment::Card(buyer)).await.is_ok()
    }

    /// Delivers the events that are due to whichever shop is open.
    pub async fn deliver(&self) {
        self.stripe.deliver_due().await.expect("a delivery");
    }

    /// Delivers at once what was refused before.
    pub async fn deliver_all(&self) {
        self.takeover.shop.hurry_webhooks().await;
        self.deliver().await;
    }

    /// Opens a page of the old shop, as of a while ago.
    pub async fn page_of_before(&self, product: &str, minutes: i64) -> String {
        let session = self.page(product).await;
        let at = chrono::Utc::now() - chrono::TimeDelta::minutes(minutes);
        let at = at.format("%Y-%m-%d %H:%M:%S");
        self.old
            .change(&format!(
                "update orders_order set created_at = '{at}' where stripe_session_id = '{session}'"
            ))
            .await;
        session
    }
}

/// Buys at the old shop: some pay, some leave their page open, and some pay a second time later.
pub async fn buy_before(world: Arc<World>, mut chance: Chance, carts: usize) -> Vec<String> {
    let mut left_open = Vec::new();
    for _ in 0..carts {
        let product = *chance.pick(&SOLD_BEFORE);
        let Some(session) = world.check_out(product).await else {
            continue;
        };
        if chance.one_in(3) {
            left_open.push(session);
            continue;
        }
        assert!(world.pay(&session).await, "a page is open for a day");
        world.deliver().await;
    }
    left_open
}

/// Buys through the switch, until this many pages of the new shop were paid.
pub async fn buy_through(world: Arc<World>, mut chance: Chance, carts: usize) {
    let mut bought = 0;
    while bought < carts {
        let is_new = world.has_moved.load(Ordering::SeqCst);
        let product = match chance.one_in(2) {
            true => "switch-many",
            false => chance.pick(&PIECES).0,
        };
        let Some(session) = world.check_out(product).await else {
            continue;
        };
        if chance.one_in(4) {
            continue;
        }
        assert!(world.pay(&session).await, "its page is open");
        world.deliver().await;
        bought += usize::from(is_new);
    }
}

fn is_the_proxys(answer: &Answer) -> bool {
    answer.text == "One moment, please." && answer.header("retry-after") == "30"
}

/// Puts the pieces into the old shop, with ids that Stripe knows. It knows none of the sample's.
async fn sell_at_stripe(takeover: &Takeover) -> BTreeMap<&'static str, String> {
    let mut prices = BTreeMap::new();
    let mut changes = vec![
        "update products_product set stripe_product_id = null, stripe_price_id = null;".to_owned(),
    ];
    for (id, count) in PIECES {
        let made = takeover.asks_stripe("products", &[("name", id)]).await;
        let of = made["id"].as_str().expect("an id");
        let params = [
            ("currency", "usd"),
            ("unit_amount", "4500"),
            ("product", of),
        ];
        let price = takeover.asks_stripe("prices", &params).await;
        let price = price["id"].as_str().expect("an id").to_owned();
        changes.push(product(
            id,
            &[
                ("stripe_product_id", &format!("'{of}'")),
                ("stripe_price_id", &format!("'{price}'")),
                ("inventory_count", &count.to_string()),
            ],
        ));
        prices.insert(id, price);
    }
    takeover.change(&changes.concat()).await;
    prices
}
