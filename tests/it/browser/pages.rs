//! Every page of the admin as it is seen: on a phone and a laptop, by day and by night, by everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use reqwest::Method;
use serde_json::json;
use spirit_beads::admin;
use spirit_beads::auth::Scope;

use super::{Driver, LAPTOP, PHONE, Window, shots};
use crate::admin::{OWNER, PASSWORD, STAFF, set_up_second_factor, signed_in, staffed};
use crate::catalog::intakes::photograph;
use crate::support::images::{Part, jpeg};
use crate::support::{Shop, card, session_of};

/// It looks for what keeps people out who do not see, hear or move as others do.
const AXE: &str = include_str!("../../data/axe-core/axe.min.js");

/// A name that no line can hold.
const LONG: &str = "Wiigwaasi-Makakoons-Ininaatigoowiigwaam-Giizhigong-Anangoog";

/// A shop in which every page has something to show, and addresses of its pages.
struct World {
    shop: Shop,
    /// Value of `{id}`, by the route.
    ids: BTreeMap<&'static str, String>,
    customers_page: String,
    order_page: String,
}

async fn world() -> World {
    let shop = staffed().await;
    let admin = shop.admin(&Scope::ALL).await;
    let category = json!({"name": "Lighter cases", "description": "Loomed, and sewn by hand."});
    let category = admin.post("/api/categories/", &category).await;
    assert_eq!(category.status, 201, "{}", category.text);
    let mut images = Vec::new();
    for size in [(640, 480), (480, 640)] {
        images.push(shop.keeps(&jpeg(size.0, size.1)).await);
    }
    let shown = json!({
        "images": images, "category": category.json["id"],
        "description": format!("Red and gold.\n\n{LONG}"),
    });
    let sunrise = shop.stocks_with("Sunrise", 6, shown).await;
    for name in ["Raven", "Turtle", "River Braid", LONG] {
        shop.stocks(name, 1).await;
    }
    shop.stocks_with("Sold", 0, json!({})).await;
    let scheduled = json!({"on_sale_at": "2126-12-04T18:00:00Z"});
    shop.stocks_with("Heron", 1, scheduled).await;
    shop.run_jobs().await;
    sqlx::raw_sql(
        "update products set stripe_status = 'error', stripe_error = 'No such account: acct_1' where id = 'raven';
         update products set is_active = false where id = 'turtle';",
    )
    .execute(&shop.db)
    .await
    .expect("products");

    // Orders: one to look at and to pack, one shipped and partly paid back, one by hand, one being paid.
    for _ in 0..2 {
        let session = session_of(&shop.shopper().check_out(&[(&sunrise, 2)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
    }
    shop.deliver().await;
    shop.run_jobs().await;
    let shipment = json!({"carrier": "USPS", "tracking_number": "9400 1000 0000 0000 0000 00"});
    let shipped = admin
        .post("/api/admin/orders/SB-1002/ship/", &shipment)
        .await;
    assert_eq!(shipped.status, 200, "{}", shipped.text);
    let refund = json!({"amount": 500, "reason": "Late"});
    let refunded = admin
        .post("/api/admin/orders/SB-1002/refund/", &refund)
        .await;
    assert_eq!(refunded.status, 202, "{}", refunded.text);
    let lines =
        json!([{"product_id": sunrise, "quantity": 1}, {"product_id": "raven", "quantity": 1}]);
    let sale = json!({"lines": lines, "customer_name": LONG});
    assert_eq!(admin.post("/api/admin/orders/", &sale).await.status, 201);
    session_of(&shop.shopper().check_out(&[("river-braid", 1)]).await);

    // Custom orders: one to answer with images, one with a quote to look at, one that is paid and under way.
    let wish = jpeg(600, 400);
    let asked = [
        Part::text("name", "Cy Young"),
        Part::text("email", "cy@example.com"),
        Part::text(
            "description",
            "A case with a raven, please, as on this photo.",
        ),
        Part::text("colors", "Black, silver, a little red"),
        Part::file("images", &wish),
    ];
    for _ in 0..3 {
        let answer = shop.client.send_form("/api/custom-orders/", &asked).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    let quote = json!({"amount": 14500, "description": "A Classic case, loomed"});
    for number in ["CO-1002", "CO-1003"] {
        let path = format!("/api/admin/custom-orders/{number}/quote/");
        let quoted = admin.send_json(Method::PUT, &path, &quote).await;
        assert_eq!(quoted.status, 200, "{}", quoted.text);
    }
    let approve = "/api/admin/custom-orders/CO-1003/approve/";
    let approved = admin.post(approve, &json!({})).await;
    assert!(approved.status < 300, "{}", approved.text);
    shop.run_jobs().await;
    let link: String =
        sqlx::query_scalar("select link_id from custom_order_quotes where state = 'live'")
            .fetch_one(&shop.db)
            .await
            .expect("a link");
    let session = shop.stripe.open_link(&link).await.expect("a page");
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let request: String =
        sqlx::query_scalar("select id::text from custom_orders where number = 1003")
            .fetch_one(&shop.db)
            .await
            .expect("a request");

    // What stumbled: an event, an email, a job, an order.
    sqlx::raw_sql(
        "insert into stripe_events (id, type, status, source, payload, attempts, last_error)
         values ('evt_1', 'invoice.paid', 'failed', 'webhook',
                 '{\"id\": \"evt_1\", \"type\": \"invoice.paid\", \"data\": {\"object\": {\"id\": \"in_0123456789012345678901234567890123456789\"}}}',
                 1, 'the disk was full');
         update emails set state = 'failed', sent_at = null, last_error = 'no such box'
         where id = (select id from emails order by created_at limit 1);
         insert into review_items (order_id, kind, cause, text)
         select id, 'outside_zone', 'test:' || id, 'The address lies outside the zone whose shipping was paid.'
         from orders where number = 1001;
         insert into worker_heartbeats (worker) values (gen_random_uuid());",
    )
    .execute(&shop.db)
    .await
    .expect("what stumbled");
    shop.stocks("Fern", 1).await;
    sqlx::query("update graphile_worker._private_jobs set attempts = 3, last_error = 'Stripe did not answer'")
        .execute(&shop.db)
        .await
        .expect("a job");

    let one = async |sql: &'static str| -> String {
        let found = sqlx::query_scalar(sql).fetch_one(&shop.db).await;
        found.expect("an id")
    };
    let (batch, photo) = lays_out(&shop).await;
    let ids = BTreeMap::from([
        (
            "/admin/table-photos/{id}/photos/{photo}",
            format!("{batch}/photos/{photo}"),
        ),
        ("/admin/table-photos/{id}", batch),
        ("/admin/orders/{id}", "SB-1001".to_owned()),
        ("/admin/orders/{id}/packing-slip", "SB-1001".to_owned()),
        ("/admin/products/{id}", sunrise),
        ("/admin/custom-orders/{id}", "CO-1001".to_owned()),
        ("/admin/customers/{id}", "SB-1001".to_owned()),
        ("/admin/custom-orders/{id}/approve", "CO-1002".to_owned()),
        ("/admin/custom-orders/{id}/email", "CO-1002".to_owned()),
        (
            "/admin/users/{id}",
            one("select id::text from users where role = 'staff'").await,
        ),
        ("/admin/system/events/{id}", "evt_1".to_owned()),
        (
            "/admin/system/emails/{id}",
            one("select id::text from emails order by created_at desc limit 1").await,
        ),
        (
            "/admin/system/emails/{id}/page",
            one("select id::text from emails order by created_at desc limit 1").await,
        ),
    ]);
    let customers_page = shop.status_page(&request);
    let order = one("select id::text from orders where number = 1002").await;
    let order_page = shop.order_page(&json!(order));
    World {
        shop,
        ids,
        customers_page,
        order_page,
    }
}

/// A batch of table photographs, worked off. Returns its id and that of a photograph.
async fn lays_out(shop: &Shop) -> (String, String) {
    let admin = shop.admin(&Scope::ALL).await;
    let batch = admin.post("/api/admin/intakes/", &json!({})).await.json;
    let path = format!(
        "/api/admin/intakes/{}/",
        batch["id"].as_str().expect("an id")
    );
    for side in ["front", "back"] {
        let photo = photograph(&format!("s210-kin-{side}.jpg"));
        let parts = [Part::text("side", side), Part::file("image", &photo)];
        let sent = admin.send_form(&format!("{path}photos/"), &parts).await;
        assert_eq!(sent.status, 202, "{}", sent.text);
    }
    shop.run_failing_jobs().await;
    let shown = admin.get(&path).await.json;
    let id = |value: &serde_json::Value| value.as_str().expect("an id").to_owned();
    (id(&shown["id"]), id(&shown["photos"][0]["id"]))
}

/// Pages whose route is not all there is to see.
const MORE: [(&str, &str); 22] = [
    ("order-shipped", "/admin/orders/SB-1002"),
    ("order-by-hand", "/admin/orders/SB-1003"),
    ("orders-all", "/admin/orders?tab=all"),
    ("orders-none", "/admin/orders?search=nobody"),
    (
        "orders-ship-two",
        "/admin/orders/ship?order=SB-1001&order=SB-1005",
    ),
    ("sell-a-piece", "/admin/sell?piece=sunrise"),
    ("sell-two-pieces", "/admin/sell?piece=sunrise&piece=fern"),
    ("search-found", "/admin/search?search=e"),
    ("search-none", "/admin/search?search=nobody"),
    ("sell-none", "/admin/sell?search=nobody"),
    ("products-all", "/admin/products?show=all"),
    ("products-none", "/admin/products?search=nobody"),
    ("product-not-at-stripe", "/admin/products/raven"),
    ("product-archived", "/admin/products/turtle"),
    ("product-draft", "/admin/products/heron"),
    ("products-drafts", "/admin/products?show=drafts"),
    ("custom order-to-make", "/admin/custom-orders/CO-1003"),
    ("custom order-quoted", "/admin/custom-orders/CO-1002"),
    ("custom orders-all", "/admin/custom-orders?state=all"),
    ("today-90", "/admin?days=90"),
    ("system-emails-failed", "/admin/system/emails?state=failed"),
    ("system-events-none", "/admin/system/events?search=nobody"),
];

/// Findings, page by page.
struct Inspection<'a> {
    window: &'a Window,
    width: u32,
    errors: Vec<String>,
}

impl Inspection<'_> {
    /// Goes to a page and looks at it.
    async fn visits(&mut self, name: &str, path: &str, status: i64) {
        self.window.heard().await;
        self.window.goes_to(path).await;
        let heard = self.window.heard().await;
        if heard.documents.first() != Some(&status) || self.window.path().await != path {
            let at = self.window.path().await;
            self.errors
                .push(format!("{path} is {:?} at {at}", heard.documents));
        }
        if status < 400 {
            self.errors
                .extend(heard.bad().iter().map(|bad| format!("{path}: {bad}")));
        }
        if let Some(folder) = shots() {
            let file = folder.join(format!("weights-{}.tsv", self.width));
            let mut file = std::fs::File::options()
                .create(true)
                .append(true)
                .open(file)
                .expect("a file");
            writeln!(
                file,
                "{name}\t{}\t{}\t{}",
                heard.requests, heard.on_the_wire, heard.decoded
            )
            .expect("a line");
        }
        self.looks(name).await;
        let late = self.window.heard().await.bad();
        if status < 400 {
            self.errors
                .extend(late.iter().map(|bad| format!("{path}: {bad}")));
        }
    }

    /// Looks at the page that is open.
    async fn looks(&mut self, name: &str) {
        let sandboxed = self.window.asks("return self.origin === 'null';").await == true;
        for dark in [false, true] {
            let scheme = if dark { "dark" } else { "light" };
            self.window.is_dark(dark).await;
            let view = format!("{name}-{}-{scheme}", self.width);
            self.window.shot(&view).await;
            // What is folded away is there, too.
            self.window
                .asks(
                    "for (const one of document.querySelectorAll('main details')) one.open = true;",
                )
                .await;
            let wide = self
                .window
                .asks("return document.documentElement.scrollWidth;")
                .await;
            if wide.as_u64() > Some(u64::from(self.width)) {
                self.errors.push(format!("{view} is {wide} wide"));
            }
            // An email stands in a sandbox in which nothing runs, axe as little as an email's own script.
            if sandboxed {
                continue;
            }
            let found = serious(self.window, dark).await;
            let found = found.iter().map(|found| format!("{view}: {found}"));
            self.errors.extend(found);
        }
        self.window.is_dark(false).await;
    }
}

/// Serious findings of axe on the page that is open. By night only the colors are others.
async fn serious(window: &Window, dark: bool) -> Vec<String> {
    let rules = if dark {
        "['color-contrast']"
    } else {
        "undefined"
    };
    let script = format!(
        "return axe.run({{iframes: false, resultTypes: ['violations'], runOnly: {rules}}}).then(({{violations}}) => violations
            .filter(({{impact}}) => ['serious', 'critical'].includes(impact))
            .flatMap(({{id, nodes}}) => nodes.map(({{html, any}}) =>
                `${{id}}: ${{html.slice(0, 200)}} ${{any.map(({{message}}) => message).join('; ')}}`)));"
    );
    let found = window.asks(&script).await;
    serde_json::from_value(found).expect("findings")
}

/// A file's name for a path.
fn name_of(path: &str) -> String {
    let name = path.trim_start_matches("/admin").trim_matches('/');
    let name = name.replace(['/', '{', '}'], "-").replace("--", "-");
    let name = name.trim_matches('-');
    if name.is_empty() { "today" } else { name }.to_owned()
}

async fn every_page(width: u32) {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let World {
        shop,
        ids,
        customers_page,
        order_page,
    } = world().await;
    let window = driver.opens(&shop, width).await;
    let axe = json!({"source": AXE});
    window
        .devtools("Page.addScriptToEvaluateOnNewDocument", axe)
        .await;
    let mut inspection = Inspection {
        window: &window,
        width,
        errors: Vec::new(),
    };
    let over = "/admin/sign-in?why=session-over";
    inspection.visits("sign-in-session-over", over, 200).await;
    inspection.visits("sign-in", "/admin/sign-in", 200).await;
    // Were something amiss, it would be found.
    window
        .asks("document.querySelector('label[for=email]').remove(); document.querySelector('.hint').style.color = '#999';")
        .await;
    let found = serious(&window, false).await.join("\n");
    assert!(
        found.contains("label: ") && found.contains("color-contrast: "),
        "{found}"
    );
    window.goes_to("/admin/sign-in").await;
    window.fills("Email", OWNER).await;
    window.fills("Password", "wrong").await;
    window.clicks("Sign in").await;
    window
        .finds("alert", thirtyfour::By::Css("[role=alert]"))
        .await;
    inspection.looks("sign-in-refused").await;
    window.signs_in(OWNER).await;
    // A second factor that is being set up has a page.
    window.goes_to("/admin/account").await;
    window.fills("Password", PASSWORD).await;
    window.clicks("Set it up").await;
    window.sees("Set up two-step verification").await;

    let mut seen = BTreeSet::new();
    for route in admin::routes() {
        // No page, shown in a frame, files, and for who is not wholly signed in.
        let elsewhere = [
            "/admin/assets/{name}",
            "/admin/settings/emails/{name}",
            "/admin/orders.csv",
            "/admin/orders/labels.csv",
            "/admin/system/backup",
            "/admin/customers/{id}/export",
            "/admin/second-factor",
        ];
        if route.method != Method::GET
            || elsewhere.contains(&route.path)
            || route.path == "/admin/sign-in"
        {
            continue;
        }
        let path = match ids.get(route.path) {
            Some(id) => route
                .path
                .replace("{id}/photos/{photo}", id)
                .replace("{id}", id),
            None => route.path.to_owned(),
        };
        assert!(!path.contains('{'), "nothing to show behind {path}");
        inspection.visits(&name_of(route.path), &path, 200).await;
        seen.insert(route.path);
    }
    assert!(ids.keys().all(|path| seen.contains(path)), "{seen:?}");
    for (name, path) in MORE {
        inspection.visits(name, path, 200).await;
    }
    inspection
        .visits("nothing-there", "/admin/nothing", 404)
        .await;
    inspection
        .visits("customers-page", &customers_page, 200)
        .await;
    inspection.visits("order-page", &order_page, 200).await;
    inspection
        .visits("customers-page-damaged", "/api/custom-orders/x/status", 404)
        .await;

    // What a refused form says.
    window.goes_to("/admin/new-product").await;
    window.fills("Name", LONG).await;
    window.fills("Price", "much").await;
    window.fills("Weight", "heavy").await;
    window.clicks("Save as draft").await;
    window.sees("Nothing is saved yet").await;
    inspection.looks("product-refused").await;
    if width == PHONE {
        window.clicks("Menu").await;
        inspection.looks("menu").await;
    }

    // Who has given the password and not yet the code.
    let ben = signed_in(&shop, STAFF).await;
    set_up_second_factor(&shop, &ben).await;
    window
        .driver
        .delete_all_cookies()
        .await
        .expect("a stranger");
    window.goes_to("/admin/sign-in").await;
    window.fills("Email", STAFF).await;
    window.fills("Password", PASSWORD).await;
    window.clicks("Sign in").await;
    window.sees("Two-step verification").await;
    inspection
        .visits("second-factor", "/admin/second-factor", 200)
        .await;

    let errors: BTreeSet<String> = inspection.errors.into_iter().collect();
    assert!(
        errors.is_empty(),
        "{} findings:\n{}",
        errors.len(),
        errors.into_iter().collect::<Vec<_>>().join("\n")
    );
}

#[tokio::test]
async fn every_page_is_sound_on_a_phone() {
    every_page(PHONE).await;
}

#[tokio::test]
async fn every_page_is_sound_on_a_laptop() {
    every_page(LAPTOP).await;
}
