//! Shoppers, and customers who want a piece made: what people do with a shop, one after the other until the storm is
//! over. What the shop or Stripe answers is theirs to live with; whether it was right, the auditor finds out.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rng::Chance;
use super::state::{Browser, World};

/// A page to pay on.
struct Page {
    session: String,
}

/// One shopper after the other, each with a browser of their own.
pub async fn shop(world: Arc<World>, mut chance: Chance, number: usize) {
    let mut visit = 0;
    while !world.is_over() {
        visit += 1;
        let shopper = Shopper {
            world: &world,
            browser: Browser::new(&mut chance),
            email: format!("shopper{number}.{visit}@example.com"),
        };
        shopper.visit(&mut chance).await;
        world.pause(chance.millis(50, 900)).await;
    }
}

struct Shopper<'a> {
    world: &'a World,
    browser: Browser,
    email: String,
}

impl Shopper<'_> {
    async fn visit(&self, chance: &mut Chance) {
        match chance.below(14) {
            0..=3 => self.buys(chance).await,
            4 => self.goes_back_and_buys_again(chance).await,
            5 => self.uses_two_tabs(chance).await,
            6 => self.abandons(chance).await,
            7 => self.pays_late(chance).await,
            8 => self.pays_after_expiry(chance).await,
            9 | 10 => self.pays_by_transfer(chance).await,
            11 => self.is_declined_first(chance).await,
            12 => self.presses_the_button_twice(chance).await,
            _ => self.has_a_slow_line(chance).await,
        }
    }

    /// Pieces of what is on the shelf: one to three lines, at times the same piece twice.
    async fn cart(&self, chance: &mut Chance) -> Option<Value> {
        let shelf = "/api/products/?page_size=100";
        let browser = Some(&self.browser);
        let list = self
            .world
            .call(chance, browser, Method::GET, shelf, &[], None)
            .await?;
        // Some still try for what was sold a moment ago.
        let tries_all = chance.one_in(10);
        let there: Vec<&str> = list.json["results"]
            .as_array()?
            .iter()
            .filter(|piece| tries_all || piece["is_in_stock"] == true)
            .filter_map(|piece| piece["id"].as_str())
            .collect();
        if there.is_empty() {
            return None;
        }
        let mut items: Vec<Value> = (0..=chance.below(5) / 3)
            .map(
                |_| json!({"product_id": chance.pick(&there), "quantity": 1 + chance.below(5) / 4}),
            )
            .collect();
        if chance.one_in(6) {
            items.push(items[0].clone());
            self.world.tally.add("carts with a piece twice");
        }
        Some(json!({ "items": items }))
    }

    async fn check_out(
        &self,
        chance: &mut Chance,
        cart: &Value,
        key: Option<&str>,
    ) -> Option<Page> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        headers.extend(key.map(|key| ("idempotency-key", key.to_owned())));
        if chance.one_in(6) {
            headers.push(("cf-ipcountry", "CA".to_owned()));
        }
        let path = "/api/payments/create-checkout-session/";
        let body = Some(cart.to_string().into_bytes());
        let answer = self
            .world
            .call(
                chance,
                Some(&self.browser),
                Method::POST,
                path,
                &headers,
                body,
            )
            .await?;
        self.world.tally.add("checkouts asked for");
        if answer.status == 400 {
            self.world.tally.add("checkouts refused");
        }
        let url = answer.json["checkout_url"].as_str()?;
        let session = url.rsplit('/').next()?.to_owned();
        self.world.tally.add("checkouts opened");
        Some(Page { session })
    }

    async fn opens_a_page(&self, chance: &mut Chance) -> Option<Page> {
        let cart = self.cart(chance).await?;
        self.check_out(chance, &cart, None).await
    }

    async fn pays(&self, page: &Page, how: &str) -> bool {
        self.world.pay(&page.session, how, &self.email).await
    }

    async fn buys(&self, chance: &mut Chance) {
        if let Some(page) = self.opens_a_page(chance).await {
            self.world.pause(chance.millis(20, 800)).await;
            self.pays(&page, "card").await;
            let path = format!("/api/orders/by-session/{}/", page.session);
            self.world
                .call(chance, Some(&self.browser), Method::GET, &path, &[], None)
                .await;
        }
    }

    /// The way back that the payment page shows.
    async fn goes_back(&self, chance: &mut Chance, page: &Page) {
        let Some(session) = self.world.session(&page.session).await else {
            return;
        };
        let back = session["cancel_url"].as_str().unwrap_or_default();
        if let Some((_, path)) = back.split_once("/api/") {
            let path = format!("/api/{path}");
            let opened = [
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
            ];
            let headers: Vec<(&str, String)> = opened
                .map(|(name, value)| (name, value.to_owned()))
                .to_vec();
            self.world
                .call(
                    chance,
                    Some(&self.browser),
                    Method::GET,
                    &path,
                    &headers,
                    None,
                )
                .await;
            self.world.tally.add("went back");
        }
    }

    async fn goes_back_and_buys_again(&self, chance: &mut Chance) {
        let Some(cart) = self.cart(chance).await else {
            return;
        };
        let Some(first) = self.check_out(chance, &cart, None).await else {
            return;
        };
        if chance.one_in(2) {
            self.goes_back(chance, &first).await;
        }
        // With the cookie: the first checkout is superseded where the way back was not taken.
        let Some(second) = self.check_out(chance, &cart, None).await else {
            return;
        };
        if chance.one_in(3) {
            // The old page is still open in the browser's history.
            self.pays(&first, "card").await;
        }
        self.pays(&second, "card").await;
    }

    /// Both with one cookie, at the same moment, and both are paid if Stripe lets it.
    async fn uses_two_tabs(&self, chance: &mut Chance) {
        let Some(cart) = self.cart(chance).await else {
            return;
        };
        if chance.one_in(3) {
            self.opens_a_page(chance).await;
        }
        let mut other = Chance::new(chance.next());
        let (one, two) = tokio::join!(
            self.check_out(chance, &cart, None),
            self.check_out(&mut other, &cart, None)
        );
        self.world.tally.add("two tabs");
        for page in [one, two].into_iter().flatten() {
            self.pays(&page, "card").await;
        }
    }

    async fn abandons(&self, chance: &mut Chance) {
        self.opens_a_page(chance).await;
        self.world.tally.add("abandoned");
    }

    /// Long enough that hours may have passed meanwhile.
    async fn pays_late(&self, chance: &mut Chance) {
        if let Some(page) = self.opens_a_page(chance).await {
            self.world.pause(chance.millis(2_000, 9_000)).await;
            self.pays(&page, "card").await;
        }
    }

    async fn pays_after_expiry(&self, chance: &mut Chance) {
        if let Some(page) = self.opens_a_page(chance).await {
            let body = json!({"session": page.session});
            let mut other = Chance::new(chance.next());
            if chance.one_in(2) {
                // At the same moment: who comes first decides.
                tokio::join!(self.world.switch("expire", &body), async {
                    self.world.pause(other.millis(0, 30)).await;
                    self.pays(&page, "card").await
                });
            } else {
                self.world.switch("expire", &body).await;
                self.pays(&page, "card").await;
            }
            self.world.tally.add("paid about expiry");
        }
    }

    async fn pays_by_transfer(&self, chance: &mut Chance) {
        if let Some(page) = self.opens_a_page(chance).await
            && self.pays(&page, "delayed").await
        {
            self.world.pause(chance.millis(200, 6_000)).await;
            settle(self.world, chance, &page.session).await;
        }
    }

    async fn is_declined_first(&self, chance: &mut Chance) {
        if let Some(page) = self.opens_a_page(chance).await {
            self.pays(&page, "declined").await;
            self.world.pause(chance.millis(50, 500)).await;
            self.pays(&page, "card").await;
        }
    }

    /// One checkout under one key, sent twice at once and once more later.
    async fn presses_the_button_twice(&self, chance: &mut Chance) {
        let Some(cart) = self.cart(chance).await else {
            return;
        };
        let key = chance.uuid().to_string();
        let mut other = Chance::new(chance.next());
        let (one, two) = tokio::join!(
            self.check_out(chance, &cart, Some(&key)),
            self.check_out(&mut other, &cart, Some(&key))
        );
        self.world.tally.add("buttons pressed twice");
        let again = self.check_out(chance, &cart, Some(&key)).await;
        for page in [one, two, again].into_iter().flatten() {
            self.pays(&page, "card").await;
        }
    }

    /// A checkout that arrives byte by byte, and at times never whole.
    async fn has_a_slow_line(&self, chance: &mut Chance) {
        let Some(cart) = self.cart(chance).await else {
            return;
        };
        self.world.tally.add("slow lines");
        let address = chance.pick(&self.world.addresses).clone();
        let host = address.trim_start_matches("http://").to_owned();
        let body = cart.to_string();
        let request = format!(
            "POST /api/payments/create-checkout-session/ HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let Ok(mut line) = TcpStream::connect(&host).await else {
            return;
        };
        let stops_at = if chance.one_in(3) {
            chance.below(request.len() as u64) as usize
        } else {
            request.len()
        };
        for bytes in request.as_bytes()[..stops_at].chunks(16) {
            if line.write_all(bytes).await.is_err() {
                return;
            }
            self.world.pause(chance.millis(1, 120)).await;
        }
        if stops_at < request.len() || chance.one_in(3) {
            // The line drops; the answer, if there is one, is heard by nobody.
            return;
        }
        let mut answer = String::new();
        let reading = line.read_to_string(&mut answer);
        if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(15), reading).await
            && let Some((_, json)) = answer.split_once("\r\n\r\n")
            && let Ok(json) = serde_json::from_str::<Value>(json)
            && let Some(session) = json["checkout_url"]
                .as_str()
                .and_then(|url| url.rsplit('/').next())
        {
            let page = Page {
                session: session.to_owned(),
            };
            self.pays(&page, "card").await;
        }
    }
}

/// Somebody who comes late: pays pages that are still open though the shop has let go of their order, for its answer
/// was lost or it gave up asking.
pub async fn come_late(world: Arc<World>, mut chance: Chance) {
    while !world.is_over() {
        world.pause(chance.millis(20, 300)).await;
        let open: Result<Vec<(String, String)>, _> = sqlx::query_as(
            "select data ->> 'client_reference_id', id
             from stripe_sandbox.objects
             where object = 'checkout.session' and data ->> 'status' = 'open' and data ->> 'client_reference_id' <> ''
             order by seq desc
             limit 50",
        )
        .fetch_all(&world.stripe)
        .await;
        let open = open.unwrap_or_default();
        let orders: Vec<&str> = open.iter().map(|(order, _)| order.as_str()).collect();
        let released: Result<Vec<String>, _> = sqlx::query_scalar(
            "select id::text from orders where id::text = any($1) and status in ('expired', 'cancelled', 'failed')",
        )
        .bind(&orders)
        .fetch_all(&world.shop)
        .await;
        let released = released.unwrap_or_default();
        for (order, session) in &open {
            if released.contains(order) && world.pay(session, "card", "late@example.com").await {
                world.tally.add("paid after their order was let go");
            }
        }
    }
}

/// The bank decides about a transfer.
pub async fn settle(world: &World, chance: &mut Chance, session: &str) {
    let succeeds = !chance.one_in(3);
    let body = json!({"session": session, "succeeds": succeeds});
    if world.switch("settle", &body).await.is_some() {
        world.tally.add(if succeeds {
            "transfers that came"
        } else {
            "transfers that failed"
        });
    }
}

/// One customer after the other, each with a wish.
pub async fn wish(world: Arc<World>, mut chance: Chance, number: usize) {
    let mut visit = 0;
    while !world.is_over() {
        visit += 1;
        let email = format!("customer{number}.{visit}@example.com");
        let browser = Browser::new(&mut chance);
        if let Some(request) = ask(&world, &mut chance, &browser, &email).await {
            // Some never come back to it, and the quote lapses.
            if !chance.one_in(6) {
                follow(&world, &mut chance, &request, &email).await;
            }
        }
        world.pause(chance.millis(300, 2_000)).await;
    }
}

async fn ask(world: &World, chance: &mut Chance, browser: &Browser, email: &str) -> Option<String> {
    let wish = "A case in blue and gold, with a raven on it, please.";
    let path = "/api/custom-orders/";
    let answer = if chance.one_in(2) {
        let boundary = "storm";
        let mut form = Vec::new();
        for (name, text) in [
            ("name", "A Customer"),
            ("email", email),
            ("description", wish),
        ] {
            let part = format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n"
            );
            form.extend_from_slice(part.as_bytes());
        }
        let head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"images\"; filename=\"wish.jpg\"\r\n\
             content-type: image/jpeg\r\n\r\n"
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(&world.image_url);
        form.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={boundary}");
        let headers = [("content-type", kind)];
        world
            .call(
                chance,
                Some(browser),
                Method::POST,
                path,
                &headers,
                Some(form),
            )
            .await?
    } else {
        let body = json!({"name": "A Customer", "email": email, "description": wish});
        world.post(chance, Some(browser), path, &body).await?
    };
    let request = answer.json["custom_order_id"].as_str()?.to_owned();
    world.tally.add("wishes");
    Some(request)
}

/// Waits for the email with the link, and pays by it, or not. The email's link is what the admin shows.
async fn follow(world: &World, chance: &mut Chance, request: &str, email: &str) {
    let path = format!("/api/admin/custom-orders/{request}/");
    for _ in 0..40 {
        world.pause(chance.millis(300, 900)).await;
        if world.is_over() {
            return;
        }
        let Some(answer) = world.keep(chance, Method::GET, &path, None).await else {
            continue;
        };
        if answer.json["status"] == "rejected" {
            return;
        }
        let quotes = answer.json["quotes"].as_array().cloned();
        let live = quotes
            .unwrap_or_default()
            .into_iter()
            .find(|quote| quote["state"] == "live");
        if let Some(link) = live
            .as_ref()
            .and_then(|quote| quote["payment_link_id"].as_str())
        {
            return pay_by_link(world, chance, link, email).await;
        }
    }
}

async fn pay_by_link(world: &World, chance: &mut Chance, link: &str, email: &str) {
    let open = async || {
        let page = world.switch("open_link", &json!({ "link": link })).await?;
        Some(page["id"].as_str()?.to_owned())
    };
    let Some(page) = open().await else { return };
    world.pause(chance.millis(100, 3_000)).await;
    match chance.below(6) {
        0 => {
            // Another tab, or somebody else whom the email was forwarded to: both pay at the same moment.
            if let Some(other) = open().await {
                tokio::join!(
                    world.pay(&page, "card", email),
                    world.pay(&other, "card", email)
                );
                world.tally.add("links paid by two");
            }
        }
        1 => {
            if world.pay(&page, "delayed", email).await {
                world.pause(chance.millis(200, 5_000)).await;
                settle(world, chance, &page).await;
            }
        }
        2 => world.tally.add("links left unpaid"),
        _ => {
            world.pay(&page, "card", email).await;
        }
    }
}
