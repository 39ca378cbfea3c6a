//! Every form of the admin, found by its route table: sent as it was rendered, sent twice, and sent with one field changed.
//!
//! A route that takes a form and is not tried fails the test: its form must stand on a page of [`World`]'s shop, or be
//! looked for where [`World::form_of`] says.

mod one_field_changed;
mod sent_twice;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use spirit_beads::admin;
use sqlx::AssertSqlSafe;

use crate::admin::{Browser, OWNER, PASSWORD, code, set_up_second_factor, signed_in};
use crate::fuzz::filled;
use crate::fuzz::shop::Stage;
use crate::support::forms::{Field, Form};
use crate::support::images::plain_png;
use crate::support::{Answer, Client, Shop, card, heavy};

/// Tables that a repeat may touch: they say that somebody was here, or that the form came before.
const NO_EFFECT: [&str; 4] = [
    "public._sqlx_migrations",
    "public.form_submissions",
    "public.worker_heartbeats",
    "stripe_sandbox.idempotency_keys",
];

/// A shop in which everything has happened once. Each form is tried on a copy of it.
struct World {
    stage: Stage,
    session: String,
    /// The number of an order that can be shipped.
    to_ship: String,
}

/// A form on a page of a shop of its own, filled in.
struct Scene {
    shop: Shop,
    client: Client,
    form: Form,
}

impl World {
    async fn open() -> World {
        let mut stage = Stage::open().await;
        let session = stage.owner.cookie("admin_session").expect("a session");
        furnish(&stage).await;
        stage.name_all().await;
        let to_ship: i64 = sqlx::query_scalar(
            "select max(number) from orders where status = 'paid' and channel = 'storefront'",
        )
        .fetch_one(&stage.shop.db)
        .await
        .expect("a paid order");
        stage.shop.freeze().await;
        World {
            stage,
            session,
            to_ship: format!("SB-{to_ship}"),
        }
    }

    /// The form of a route, on a copy of the shop. Nothing where no page shows one.
    async fn scene(&self, route: &str) -> Option<Scene> {
        let shop = self.stage.shop.copy().await;
        let client = shop.shopper();
        client.set_cookie("admin_session", &self.session);
        let (client, mut form) = self.form_of(route, &shop, client).await?;
        for field in &mut form.fields {
            complete(field);
        }
        if let Some(file) = form.fields.iter().find(|field| field.kind == "file") {
            form.files.push((file.name.clone(), plain_png(12, 12)));
        }
        for name in ["id", "scope", "sure"] {
            let mut boxes = form.fields.iter_mut().filter(|field| field.name == name);
            if let Some(first) = boxes.next() {
                first.is_on = true;
            }
        }
        Some(Scene { shop, client, form })
    }

    /// Whose form it is, and the form as its page renders it.
    async fn form_of(&self, route: &str, shop: &Shop, owner: Client) -> Option<(Client, Form)> {
        let second_factor = async || {
            let mut browser = Browser::new(shop);
            browser.client = owner.clone();
            set_up_second_factor(shop, &browser).await.0
        };
        match route {
            "/admin/sign-in" => {
                let stranger = shop.shopper();
                let page = stranger.get(route).await.text;
                let form = Form::to(&page, route).with(&[("email", OWNER)]);
                Some((stranger, form))
            }
            "/admin/second-factor" => {
                let secret = second_factor().await;
                let mfa_pending = signed_in_with_mfa_pending(shop).await;
                let page = mfa_pending.get(route).await.text;
                let code = code(shop, &secret, 1).await;
                Some((mfa_pending, Form::to(&page, route).with(&[("code", &code)])))
            }
            "/admin/account/second-factor/confirm" => {
                let page = owner.get("/admin/account").await.text;
                let form = Form::to(&page, "/admin/account/second-factor");
                let answer = form.with(&[("password", PASSWORD)]).send(&owner).await;
                let page = owner.get(answer.header("location")).await.text;
                let (_, rest) = page.split_once("<code class=\"secret select\">")?;
                let code = code(shop, rest.split('<').next()?, 0).await;
                let form = Form::to(&page, route).with(&[("code", &code)]);
                Some((owner, form))
            }
            "/admin/account/second-factor/turn-off" | "/admin/account/recovery-codes" => {
                second_factor().await;
                self.find(route, owner).await
            }
            "/admin/account/sessions/end" => {
                signed_in(shop, OWNER).await;
                self.find(route, owner).await
            }
            "/admin/import-lighters/make" => {
                let page = owner.get("/admin/import-lighters").await.text;
                let mut form = Form::to(&page, "/admin/import-lighters");
                form.files.push(("photos".to_owned(), plain_png(12, 12)));
                let page = form.send(&owner).await.text;
                let typed = [("category.0", "Suns"), ("price.0", "55")];
                Some((owner, Form::to(&page, route).with(&typed)))
            }
            // Only of a customer for whom nothing is to be done any more.
            "/admin/customers/{id}/erase" => {
                let number = "select max(number) from orders where email = 'fay@example.com'";
                let number: i64 = sqlx::query_scalar(number)
                    .fetch_one(&shop.db)
                    .await
                    .expect("a sale");
                let page = owner.get(&format!("/admin/customers/SB-{number}")).await;
                let path = format!("/admin/customers/SB-{number}/erase");
                Some((owner, Form::to(&page.text, &path)))
            }
            _ => self.find(route, owner).await,
        }
    }

    /// Looks for a form to this route on the pages whose addresses are most like it first.
    async fn find(&self, route: &str, client: Client) -> Option<(Client, Form)> {
        let alike = |page: &str| {
            let pairs = page.split('/').zip(route.split('/'));
            pairs.take_while(|(one, other)| one == other).count()
        };
        let mut pages: Vec<&str> = admin::routes()
            .iter()
            .filter(|route| route.method == Method::GET && !route.path.contains("assets"))
            .map(|route| route.path)
            .collect();
        pages.sort_by_key(|page| std::cmp::Reverse(alike(page)));
        for page in pages {
            let addresses = match page {
                "/admin/sell" => vec!["/admin/sell?piece=sunrise".to_owned()],
                "/admin/orders/ship" => vec![format!("{page}?order={}", self.to_ship)],
                page if page.contains('{') => {
                    let names = self.stage.names_for(page);
                    names.iter().map(|name| filled(page, name)).collect()
                }
                page => vec![page.to_owned()],
            };
            for address in addresses {
                let shown = client.get(&address).await;
                let mut forms = Form::all(&shown.text).into_iter();
                let found = forms.find(|form| leads_to(form, route) && !form.buttons.is_empty());
                if let Some(form) = found {
                    return Some((client, form));
                }
            }
        }
        None
    }
}

/// Reports whether a form goes to a route.
fn leads_to(form: &Form, route: &str) -> bool {
    let path = form.action.split('?').next().unwrap_or_default();
    let is_as_long = route.split('/').count() == path.split('/').count();
    let mut parts = route.split('/').zip(path.split('/'));
    // Such as `/admin/orders/ship`, which is no order.
    let is_exact = admin::routes().iter().any(|route| route.path == path);
    is_as_long
        && (!is_exact || route == path)
        && parts.all(|(part, given)| part.starts_with('{') || part == given)
}

/// Makes the rows that the forms need, by the API and in the tables.
async fn furnish(stage: &Stage) {
    let (shop, admin) = (&stage.shop, &stage.admin);
    let post = async |path: &str, body: Value| {
        let answer = admin.post(path, &body).await;
        assert!(answer.status < 300, "{path}: {}", answer.text);
    };
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400"});
    let sale =
        json!({"lines": [{"product_id": "sunrise", "quantity": 1}], "email": "fay@example.com"});
    post("/api/admin/orders/", sale).await;
    let draft = json!({
        "id": "heron", "name": "Heron", "lighter_type": 1, "price": 4700, "on_sale_at": "2126-12-04T18:00:00Z",
    });
    post("/api/products/", draft).await;
    for _ in 0..2 {
        let answer = shop.shopper().check_out(&[("sunrise", 2)]).await;
        let session = crate::support::session_of(&answer);
        shop.stripe.pay(&session, card()).await.expect("a payment");
    }
    shop.deliver().await;
    let newest: i64 = sqlx::query_scalar(
        "select max(number) from orders where status = 'paid' and channel = 'storefront'",
    )
    .fetch_one(&shop.db)
    .await
    .expect("a paid order");
    post(
        &format!("/api/admin/orders/SB-{newest}/ship/"),
        shipment.clone(),
    )
    .await;
    for steps in 1..3 {
        let request = shop.asks_for_a_piece("dora@example.com").await;
        let path = |what: &str| format!("/api/admin/custom-orders/{request}/{what}/");
        let quote = json!({"amount": 9000, "description": "A case"});
        let answer = admin.send_json(Method::PUT, &path("quote"), &quote).await;
        assert!(answer.status < 300, "{}", answer.text);
        post(&path("approve"), Value::Null).await;
        shop.run_failing_jobs().await;
        let links = shop.at_stripe("payment_link").await;
        let link = links.last().expect("a link")["id"].as_str();
        let session = shop.stripe.open_link(link.expect("an id")).await;
        shop.stripe
            .pay(&session.expect("a session"), card())
            .await
            .expect("a payment");
        shop.deliver().await;
        post(&path("start"), Value::Null).await;
        if steps > 1 {
            post(&path("ship"), shipment.clone()).await;
        }
    }
    shop.run_failing_jobs().await;
    for sql in [
        "insert into users (id, email, role, password_hash, factor_key, factor_since)
         values (gen_random_uuid(), 'eve@example.com', 'staff', 'x', gen_random_uuid(), now())",
        "insert into users (id, email, role, password_hash, disabled_at)
         values (gen_random_uuid(), 'gus@example.com', 'staff', 'x', now())",
        "insert into refunds (id, payment_id, wanted_amount, amount, reason, actor, state, last_error)
         select gen_random_uuid(), id, 100, 100, 'Late', 'stripe', 'failed', 'Stripe refused it'
         from payments
         where outcome = 'settled'",
    ] {
        sqlx::query(sql).execute(&shop.db).await.expect(sql);
    }
}

/// A browser in which the owner has given the password, and not yet a code.
async fn signed_in_with_mfa_pending(shop: &Shop) -> Client {
    let client = shop.shopper();
    let page = client.get("/admin/sign-in").await.text;
    let form = Form::to(&page, "/admin/sign-in").with(&[("email", OWNER), ("password", PASSWORD)]);
    let answer = form.send(&client).await;
    assert_eq!(answer.header("location"), "/admin/second-factor");
    client
}

/// Fills in a field that somebody would.
fn complete(field: &mut Field) {
    let example = match (field.kind.as_str(), field.name.as_str()) {
        ("password", "new") => "another fine password 7",
        ("password", _) => PASSWORD,
        ("hidden" | "checkbox" | "radio" | "select" | "file", _) => return,
        _ if !field.value.is_empty() || !field.is_required => return,
        (_, "email") => "new@example.com",
        ("number", _) => "10",
        (_, "price" | "amount") => "12.50",
        (_, "carrier") => "USPS",
        _ => "Something new",
    };
    example.clone_into(&mut field.value);
}

/// Contents of each table: the number of rows, and a hash of them all.
async fn state(shop: &Shop) -> BTreeMap<String, (i64, String)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select schemaname || '.' || tablename
         from pg_tables
         where schemaname in ('public', 'graphile_worker', 'stripe_sandbox')",
    )
    .fetch_all(&shop.db)
    .await
    .expect("the tables");
    let mut state = BTreeMap::new();
    for table in tables {
        if NO_EFFECT.contains(&table.as_str()) {
            continue;
        }
        // The names are PostgreSQL's own.
        let sql = format!(
            "select count(*), coalesce(md5(string_agg(hash, '' order by hash)), '')
             from (select md5((to_jsonb(t) - 'last_seen_at')::text) as hash from {table} t) hashes"
        );
        let found = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&shop.db).await;
        state.insert(table, found.expect("the rows"));
    }
    state
}

fn rows(state: &BTreeMap<String, (i64, String)>) -> BTreeMap<&str, i64> {
    let tables = state.iter();
    tables
        .map(|(name, (rows, _))| (name.as_str(), *rows))
        .collect()
}

fn shown(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.header("location"), &answer.text)
}

fn routes() -> Vec<&'static str> {
    let routes = admin::routes();
    let posts = routes.iter().filter(|route| route.method == Method::POST);
    posts.map(|route| route.path).collect()
}

/// Something else that could stand in a field; nothing where there is no choice.
fn another(field: &Field) -> Option<String> {
    let value = match field.kind.as_str() {
        "hidden" | "password" | "file" => return None,
        "checkbox" | "radio" => field.value.clone(),
        "select" => {
            let mut others = field.options.iter();
            others.find(|option| **option != field.value)?.clone()
        }
        "number" => match field.value.as_str() {
            "1" => "2".to_owned(),
            _ => "1".to_owned(),
        },
        "datetime-local" => "2126-12-05T18:00".to_owned(),
        "email" => "other@example.com".to_owned(),
        "url" => "https://example.com/track/1".to_owned(),
        _ if field.value.parse::<f64>().is_ok() => "5.00".to_owned(),
        _ => format!("{} and more", field.value).trim().to_owned(),
    };
    Some(value)
}

/// A reload after a fault: the address bar shows the address that the form was sent to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_every_form_leads_to_the_page_with_the_form() {
    let _seat = heavy().await;
    let world = World::open().await;
    let pages = admin::routes();
    for route in routes() {
        // Paths of their own pages; some need to be told for which order or product.
        if pages
            .iter()
            .any(|page| page.method == Method::GET && page.path == route)
        {
            continue;
        }
        let scene = world.scene(route).await;
        let scene = scene.unwrap_or_else(|| panic!("no form to {route}"));
        let (client, form) = (&scene.client, &scene.form);
        let opened = client.get(&form.action).await;
        assert_eq!(opened.status, 303, "{}: {}", form.action, opened.text);
        let to = opened.header("location");
        let mut shown = client.get(to).await;
        if shown.status == 303 {
            shown = client.get(shown.header("location")).await;
        }
        // The table of photographs comes after they are chosen anew.
        let route = match route {
            "/admin/import-lighters/make" => "/admin/import-lighters",
            route => route,
        };
        let has_form = Form::all(&shown.text)
            .iter()
            .any(|form| leads_to(form, route));
        assert!(
            shown.status == 200 && has_form,
            "{} leads to {to}",
            form.action
        );
    }
}
