//! The switch under load, as docs/moving-from-django.md says it: the old shop sells while imports repeat, takes no more
//! money, the last import is made, and the new shop opens; meanwhile people buy, and pay what they opened before.

mod books;
mod old_service;
mod proxy;
mod world;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stripe_sandbox::Sandbox;
use world::{World, buy_before, buy_through};

use crate::chaos::rng::Chance;
use crate::support::{at_once, heavy, seed_of_ci};

const SHOPPERS: usize = 3;

/// Requests of the sample that were quoted with a payment link.
const PAID_BEFORE: &str = "10cdc4b5-aa5f-4c59-b9ea-a7314201a59c";
const PAID_IN_THE_PAUSE: &str = "9f9d3dfa-dc63-4643-af12-60e31eba054b";
const PAID_TWICE_AFTER: &str = "6e792058-7acf-4173-83bd-15d06670eb1e";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_payment_and_no_piece_is_lost_in_the_switch() {
    let _seat = heavy().await;
    let seed = seed_of_ci().unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("the switch: seed {seed}");
    let world = Arc::new(World::build().await);
    let mut left_open = Vec::new();
    for round in ["first", "second"] {
        let shoppers = (0..SHOPPERS).map(|number| {
            let chance = Chance::of(seed, &format!("{round} {number}"));
            tokio::spawn(buy_before(world.clone(), chance, 5))
        });
        let shoppers: Vec<_> = shoppers.collect();
        world.takeover.import(&[]).await;
        for shopper in shoppers {
            left_open.extend(shopper.await.expect("a shopper"));
        }
    }
    let open = Open::before_the_switch(&world).await;

    let shoppers = (0..SHOPPERS).map(|number| {
        let chance = Chance::of(seed, &format!("through the switch {number}"));
        tokio::spawn(buy_through(world.clone(), chance, 4))
    });
    let shoppers: Vec<_> = shoppers.collect();
    world.proxy.pause().await;
    let (report, ()) = tokio::join!(
        world.takeover.import(&["--final"]),
        open.pay_in_the_pause(&world)
    );
    assert_told_stripe(&report);
    let worker = world.takeover.shop.works();
    world.open_new().await;
    open.pay_after(&world, left_open).await;
    for shopper in shoppers {
        shopper.await.expect("a shopper");
    }
    world.deliver_all().await;
    worker.stop().await;
    repeat_events(&world, seed).await;
    settle(&world).await;

    assert!(world.proxy.refused() > 0, "nobody was refused in the pause");
    open.assert_outcome(&world).await;
    books::check(&world).await;
}

/// Pages of the old shop that are open when it stops to sell.
struct Open {
    /// Paid, and the old service failed to handle its event.
    unheard_of: String,
    paid_in_the_pause: Vec<String>,
    /// Open for an hour, which is longer than the new shop holds a piece.
    stale: String,
    /// Its piece is held.
    held: String,
    /// Open for longer than its piece is held, and another shopper buys that.
    late: String,
    /// Two pages for one piece.
    rivals: [String; 2],
    /// Two pages of one payment link.
    twice: [String; 2],
}

impl Open {
    async fn before_the_switch(world: &World) -> Open {
        let [before, in_the_pause, twice] = [
            link(world, PAID_BEFORE, "17400").await,
            link(world, PAID_IN_THE_PAUSE, "34500").await,
            link(world, PAID_TWICE_AFTER, "11295").await,
        ];
        let page = async |link: &str| world.stripe.open_link(link).await.expect("a page");
        assert!(world.pay(&page(&before).await).await);
        let unheard_of = world.page("switch-many").await;
        world.old.loses(&unheard_of);
        assert!(world.pay(&unheard_of).await);
        world.deliver().await;
        Open {
            unheard_of,
            paid_in_the_pause: vec![
                world.page("switch-many").await,
                world.page("switch-many").await,
                page(&in_the_pause).await,
            ],
            stale: world.page_of_before("switch-many", 60).await,
            held: world.page("switch-b").await,
            late: world.page_of_before("switch-c", 35).await,
            rivals: [world.page("switch-d").await, world.page("switch-d").await],
            twice: [page(&twice).await, page(&twice).await],
        }
    }

    async fn pay_in_the_pause(&self, world: &World) {
        for session in &self.paid_in_the_pause {
            assert!(world.pay(session).await, "its page is open");
            world.deliver().await;
        }
    }

    /// Pays what is open, at once with those who buy at the new shop.
    async fn pay_after(&self, world: &Arc<World>, left_open: Vec<String>) {
        assert!(!world.pay(&self.stale).await, "its page was ended");
        let bought = world.check_out("switch-c").await;
        if let Some(bought) = bought {
            assert!(world.pay(&bought).await);
            world.deliver().await;
        }
        let pages = [&self.held, &self.late].into_iter();
        let pages = pages.chain(&self.rivals).chain(&self.twice).cloned();
        at_once(pages.chain(left_open).map(|session| {
            let world = world.clone();
            async move {
                assert!(world.pay(&session).await, "its page is open");
                world.deliver().await;
            }
        }))
        .await;
        world.deliver_all().await;
    }

    async fn assert_outcome(&self, world: &World) {
        let shop = &world.takeover.shop;
        let sessions = self.paid_in_the_pause.iter().take(2);
        for session in sessions.chain([&self.unheard_of, &self.held]) {
            assert_eq!(shop.status_of(session).await, "paid");
        }
        assert_eq!(shop.status_of(&self.stale).await, "expired");
        assert!(is_refunded(world, &self.late).await);
        for [one, other] in [&self.rivals, &self.twice] {
            assert_ne!(
                is_refunded(world, one).await,
                is_refunded(world, other).await,
                "one of two is refunded"
            );
        }
        for request in [PAID_BEFORE, PAID_IN_THE_PAUSE, PAID_TWICE_AFTER] {
            let sql = format!("select status from custom_orders where id = '{request}'");
            assert_eq!(world.takeover.one::<String>(&sql).await, "paid");
        }
    }
}

/// Returns true when a paid session's money went back in full.
async fn is_refunded(world: &World, session: &str) -> bool {
    let payment = world.takeover.shop.payment_of(session).await;
    let charges = world.takeover.shop.at_stripe("charge").await;
    let charge = charges
        .iter()
        .find(|charge| charge["payment_intent"] == payment.as_str());
    charge.expect("a charge")["refunded"] == true
}

/// Makes a payment link as the old shop did, and returns its id.
async fn link(world: &World, request: &str, amount: &str) -> String {
    let (id, url) = world.takeover.link(request, amount).await;
    world
        .old
        .change(&format!(
            "update custom_orders_customorderrequest set stripe_payment_link = '{url}' where id = '{}'",
            request.replace('-', "")
        ))
        .await;
    id
}

fn assert_told_stripe(report: &Value) {
    let steps = report["stripe"].as_array().expect("steps");
    assert!(
        steps.len() == 4
            && steps
                .iter()
                .all(|step| step["undone"] == serde_json::json!([])),
        "{steps:?}"
    );
}

/// Tells the new shop every event of Stripe once more: the newest first, and then in any order.
async fn repeat_events(world: &World, seed: u64) {
    let mut chance = Chance::of(seed, "repeated events");
    let mut events = world.stripe.events().await.expect("events");
    events.reverse();
    for event in &events {
        assert_eq!(post(world, &world.stripe, event).await, 200);
    }
    for _ in 0..events.len() {
        assert_eq!(post(world, &world.stripe, chance.pick(&events)).await, 200);
    }
    world.takeover.shop.run_jobs().await;
    world.takeover.shop.reconcile().await;
}

async fn post(world: &World, stripe: &Sandbox, event: &Value) -> u16 {
    let payload = event.to_string();
    let signature = stripe.sign(&payload);
    let client = crate::support::Client::to(&world.proxy.address);
    let headers = [("stripe-signature", signature.as_str())];
    let path = "/api/payments/webhook/";
    let answer = client.send(reqwest::Method::POST, path, &headers, Some(payload));
    answer.await.status
}

/// Lets time pass until nothing is due.
async fn settle(world: &World) {
    let shop = &world.takeover.shop;
    for _ in 0..2 {
        shop.run_jobs().await;
        world.deliver_all().await;
        shop.wait(Duration::from_secs(2 * 3600)).await;
        shop.sweep_all().await;
    }
    world.deliver_all().await;
    shop.run_jobs().await;
}
