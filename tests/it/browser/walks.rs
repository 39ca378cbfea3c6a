//! An owner's day, from the first click to the last.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::json;
use spirit_beads::admin::{self, Access};
use tempfile::TempDir;
use thirtyfour::prelude::*;

use super::{Driver, LAPTOP, PHONE, Window};
use crate::admin::{OWNER, PASSWORD, STAFF, staffed};
use crate::support::images::{Part, jpeg};
use crate::support::{Shop, card, session_of};

/// Images as files, to be chosen or dropped.
pub(super) struct Images {
    _folder: TempDir,
    files: Vec<PathBuf>,
}

impl Images {
    pub(super) fn take(sizes: &[(u32, u32)]) -> Images {
        let folder = TempDir::new().expect("a folder");
        let mut files = Vec::new();
        for (n, (width, height)) in sizes.iter().enumerate() {
            let file = folder.path().join(format!("photo-{n}.jpg"));
            std::fs::write(&file, jpeg(*width, *height)).expect("a file");
            files.push(file);
        }
        Images {
            _folder: folder,
            files,
        }
    }

    pub(super) fn paths(&self) -> Vec<&std::path::Path> {
        self.files.iter().map(PathBuf::as_path).collect()
    }
}

/// Pays on the payment page that is open.
async fn pays(shopper: &Window) {
    for (label, text) in [
        ("Email", "cy@example.com"),
        ("Full name", "Cy Young"),
        ("Address line 1", "1 Main St"),
        ("City", "Portland"),
        ("State", "OR"),
        ("ZIP", "97201"),
    ] {
        shopper.fills(label, text).await;
    }
    shopper.chooses("Country", "United States").await;
    shopper.clicks_at("button[value=card]").await;
    // The storefront that it returns to does not run here.
    shopper
        .waits_for("way back to the storefront", async || {
            let path = shopper.path().await;
            (!path.starts_with("/sandbox")).then_some(())
        })
        .await;
}

/// Lets what was caused happen: jobs, and what Stripe says.
pub(super) async fn settles(shop: &Shop) {
    shop.run_jobs().await;
    shop.deliver().await;
    shop.run_jobs().await;
    shop.audit().await;
}

#[tokio::test]
async fn a_piece_is_made_sold_shipped_and_paid_back() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    let ann = driver.opens(&shop, LAPTOP).await;
    ann.signs_in(OWNER).await;

    ann.clicks("Products").await;
    ann.clicks("New product").await;
    ann.fills("Name", "Élan Vital").await;
    let slug = ann.field("Web address (URL)").await;
    let proposed = slug.prop("placeholder").await.expect("a proposal");
    assert_eq!(proposed.as_deref(), Some("elan-vital"));
    ann.fills("Price", "47.50").await;
    ann.fills("Weight", "1.5").await;
    ann.fills("Description", "Red & gold").await;
    ann.fills("Pieces on hand", "2").await;
    // A large photograph is shrunk before it is sent.
    let large = Images::take(&[(3400, 1700)]);
    ann.attaches("Images", &large.paths()).await;
    ann.finds("a preview", By::Css("[data-photos] [data-previews] img"))
        .await;
    ann.clicks("Save as draft").await;
    ann.sees("Élan Vital is saved as a draft.").await;
    // What is half written in the form beside them stays while images come.
    ann.fills("Description", "Red & gold, with a star").await;
    let images = Images::take(&[(500, 400), (400, 500)]);
    ann.drops("[data-images]", &images.paths()).await;
    ann.sees("2 images are added.").await;
    ann.finds("third image", By::Css("[data-image]:nth-child(3) img"))
        .await;
    // What is chosen is uploaded at once; a removal can be undone.
    let one = Images::take(&[(300, 300)]);
    ann.attaches("Add images", &one.paths()).await;
    ann.sees("The image is added.").await;
    ann.clicks_at("[data-image]:nth-child(1) button[value=remove]")
        .await;
    ann.sees("The image is removed.").await;
    ann.clicks("Undo the removal").await;
    ann.sees("The image is back.").await;
    ann.clicks("Save").await;
    ann.sees("Élan Vital is saved.").await;
    let hidden = shop.client.get("/api/products/elan-vital/").await;
    assert_eq!(hidden.status, 404);
    ann.clicks("Put on sale now").await;
    ann.sees("Élan Vital is on sale.").await;
    settles(&shop).await;

    let product = shop.client.get("/api/products/elan-vital/").await.json;
    assert_eq!(product["price"], 4750);
    assert_eq!(product["description"], "Red & gold, with a star");
    let wide = product["images"].as_array().expect("images").iter();
    let wide: Vec<_> = wide.map(|image| image["width"].clone()).collect();
    assert_eq!(wide, [3200, 500, 400, 300]);
    assert_eq!(shop.at_stripe("price").await[0]["unit_amount"], 4750);
    ann.driver.refresh().await.expect("the page again");
    ann.sees("Stripe has it as it is here.").await;
    ann.heard_nothing_bad().await;

    let id = product["id"].as_str().expect("an id");
    let session = session_of(&shop.shopper().check_out(&[(id, 1)]).await);
    let cy = driver.opens(&shop, PHONE).await;
    cy.goes_to(&format!("/sandbox/pay/{session}")).await;
    pays(&cy).await;
    shop.deliver().await;
    settles(&shop).await;

    ann.clicks("Orders").await;
    ann.fills("Search orders", "nobody").await;
    ann.sees("No order here has “nobody” in it.").await;
    ann.fills("Search orders", "cy@example").await;
    ann.clicks_at("#found a[href='/admin/orders/SB-1001']")
        .await;
    ann.sees("Pack and ship").await;
    ann.clicks("Packing slip").await;
    ann.sees("Thank you for your order.").await;
    ann.driver.back().await.expect("a way back");
    let shipment = Images::take(&[(300, 200)]);
    ann.picks("USPS").await;
    ann.fills("Tracking number", "9400 1000").await;
    ann.attaches("Photos of the shipment", &shipment.paths())
        .await;
    ann.clicks("Mark shipped").await;
    ann.sees("Has it arrived?").await;
    assert_eq!(shop.emails_of("order_shipped").await, 1);
    let images: i64 = sqlx::query_scalar("select count(*) from images")
        .fetch_one(&shop.db)
        .await
        .expect("the images");
    assert_eq!(images, 5);
    ann.clicks("Mark delivered").await;
    ann.sees("Delivered").await;

    ann.clicks("Refund").await;
    assert_eq!(ann.value("Amount").await, "52.50");
    ann.fills("Reason", "Cracked on the way").await;
    ann.fills("Élan Vital", "1").await;
    ann.clicks("Send the refund").await;
    ann.sees("The refund is planned.").await;
    settles(&shop).await;
    ann.driver.refresh().await.expect("the page again");
    ann.sees("Refunded").await;
    assert!(ann.shows("−$52.50").await);
    assert_eq!(shop.stock(id).await, (2, 0));
    assert_eq!(shop.emails_of("order_refunded").await, 1);
    ann.heard_nothing_bad().await;
}

#[tokio::test]
async fn a_custom_order_goes_from_request_to_completed() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    let wish = jpeg(600, 400);
    let asked = [
        Part::text("name", "Cy Young"),
        Part::text("email", "cy@example.com"),
        Part::text("description", "A case with a raven, please."),
        Part::file("images", &wish),
    ];
    let answer = shop.client.send_form("/api/custom-orders/", &asked).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let request = answer.json["request_id"].as_str().expect("an id");
    shop.run_jobs().await;

    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.clicks("Menu").await;
    ben.clicks("Custom orders").await;
    ben.clicks_at("a[href='/admin/custom-orders/CO-1001']")
        .await;
    ben.sees("A case with a raven, please.").await;
    ben.fills("Price in dollars", "145").await;
    ben.fills("What it covers", "A Classic case, loomed").await;
    ben.clicks("Keep, and look at the email").await;
    ben.sees("Send the quote").await;
    let frame = ben.finds("email", By::Css("iframe.email")).await;
    let email = frame
        .attr("src")
        .await
        .expect("its address")
        .expect("its address");
    let heard = ben.heard().await;
    assert!(heard.asked.contains(&email), "{email}: {heard:?}");
    assert_eq!(heard.bad(), [] as [String; 0]);
    ben.clicks("Approve, and send").await;
    ben.sees("This page looks again by itself").await;
    shop.run_jobs().await;
    // It does: nobody touches it.
    ben.sees("can be paid").await;
    assert_eq!(shop.emails_of("custom_order_approved").await, 1);

    let link = ben.control("Its payment page").await;
    let link = link
        .attr("href")
        .await
        .expect("an address")
        .expect("an address");
    let cy = driver.opens(&shop, PHONE).await;
    cy.driver.goto(link).await.expect("the payment page");
    pays(&cy).await;
    shop.deliver().await;
    settles(&shop).await;

    ben.driver.refresh().await.expect("the page again");
    ben.sees("To make").await;
    ben.clicks("Start making it").await;
    ben.sees("Being made").await;
    let images = Images::take(&[(500, 400), (400, 500)]);
    ben.picks("Other").await;
    ben.fills("Other carrier", "Bike courier").await;
    ben.fills("Tracking number", "9400 1000").await;
    ben.attaches("Photos of the finished piece", &images.paths())
        .await;
    ben.clicks("Ship and email the customer").await;
    ben.sees("It is on its way. Has it arrived?").await;
    settles(&shop).await;
    ben.driver.refresh().await.expect("the page again");
    let shown = By::Css("section[aria-labelledby=shipment] img");
    let shown = ben.driver.find_all(shown).await.expect("the images");
    assert_eq!(shown.len(), 2);
    assert_eq!(shop.emails_of("custom_order_shipped").await, 1);

    cy.goes_to(&shop.status_page(request)).await;
    cy.sees("9400 1000").await;
    ben.clicks("Mark delivered").await;
    ben.sees("Nothing more: this one is over.").await;
    ben.clicks("SB-1001").await;
    ben.sees("Custom order").await;
    ben.heard_nothing_bad().await;
    shop.audit().await;
}

#[tokio::test]
async fn two_owners_edit_one_product_and_nothing_is_lost() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    let id = shop.stocks("Sunrise", 1).await;
    let path = format!("/admin/products/{id}");
    let (ann, ben) = tokio::join!(driver.opens(&shop, LAPTOP), driver.opens(&shop, PHONE));
    ann.signs_in(OWNER).await;
    ben.signs_in(STAFF).await;
    ann.goes_to(&path).await;
    ben.goes_to(&path).await;
    ann.fills("Name", "Sunrise over the river").await;
    ann.fills("Price", "52").await;
    ben.fills("Name", "Sundown").await;
    ben.fills("Description", "Typed for half an hour\non a telephone")
        .await;
    ann.clicks("Save").await;
    ann.sees("Sunrise over the river is saved.").await;

    ben.clicks("Save").await;
    ben.sees("Somebody else changed this product meanwhile")
        .await;
    for told in ["Sunrise over the river", "Sundown", "52.00"] {
        assert!(ben.shows(told).await, "{told}");
    }
    ben.shot("product-conflict-360-light").await;
    assert_eq!(ben.value("Name").await, "Sundown");
    assert_eq!(ben.value("Price").await, "52.00");
    let typed = ben.value("Description").await;
    assert_eq!(typed, "Typed for half an hour\non a telephone");
    let before = shop.client.get(&format!("/api/products/{id}/")).await.json;
    assert_eq!(before["name"], "Sunrise over the river");

    ben.clicks("Save").await;
    ben.sees("Sundown is saved.").await;
    let both = shop.client.get(&format!("/api/products/{id}/")).await.json;
    assert_eq!(
        (&both["name"], &both["price"], &both["description"]),
        (&json!("Sundown"), &json!(5200), &json!(typed))
    );
    shop.run_jobs().await;
}

#[tokio::test]
async fn staff_sees_no_way_into_the_owners_pages() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let ben = driver.opens(&shop, LAPTOP).await;
    ben.signs_in(STAFF).await;
    let routes = admin::routes();
    let owners: Vec<_> = routes
        .iter()
        .filter(|route| route.access == Access::Owner)
        .collect();
    for path in [
        "/admin",
        "/admin/orders?tab=all",
        "/admin/orders/SB-1001",
        "/admin/products",
        "/admin/products/sunrise",
        "/admin/account",
        "/admin/sell",
        "/admin/custom-orders",
    ] {
        ben.goes_to(path).await;
        let ways = ben
            .asks(
                "return [...document.querySelectorAll('a[href], form[action]')]
                    .map(way => way.getAttribute('href') ?? way.getAttribute('action'));",
            )
            .await;
        for way in ways.as_array().expect("ways") {
            let way = way.as_str().expect("a way");
            let locked = owners.iter().find(|route| opens(route.path, way));
            assert!(locked.is_none(), "{path} leads staff to {way}");
        }
    }
    ben.goes_to("/admin/orders/SB-1001").await;
    assert!(ben.shows("The owner can make a refund.").await);
    ben.heard_nothing_bad().await;
    for route in owners.iter().filter(|route| route.method == Method::GET) {
        ben.goes_to(&route.path.replace("{id}", "1")).await;
        ben.sees("This page is for owners.").await;
        assert_eq!(ben.heard().await.documents, [403], "{}", route.path);
    }
}

/// Reports whether a link leads to a route of this path.
fn opens(route: &str, way: &str) -> bool {
    let way = way.split(['?', '#']).next().unwrap_or_default();
    let (route, way) = (route.split('/'), way.split('/'));
    route.clone().count() == way.clone().count()
        && route
            .zip(way)
            .all(|(part, other)| part.starts_with('{') || part == other)
}

#[tokio::test]
async fn a_piece_is_sold_at_the_stall_with_a_thumb_and_the_sale_undone() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    for name in ["Sunrise", "Raven", "River Braid"] {
        shop.stocks(name, 2).await;
    }
    let turtle = shop.stocks("Turtle", 1).await;
    shop.run_jobs().await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.clicks_at(".thumb a[href='/admin/sell']").await;
    ben.fills("Find a piece", "turt").await;
    ben.waits_for("Turtle alone", async || {
        let pieces = ben.driver.find_all(By::Css("#found li")).await.ok()?;
        (pieces.len() == 1).then_some(())
    })
    .await;
    ben.clicks_at("#found a").await;
    ben.fills("Price of one", "40").await;
    let sell = By::Css("form[action='/admin/sell'] button.main");
    let sell = ben.finds("Sell", sell).await;
    // Without scrolling, and above the bar.
    let place = sell.rect().await.expect("a place");
    assert!(place.y + place.height < 740.0 - 64.0, "{place:?}");
    sell.click().await.expect("a tap");
    ben.sees("Sold: SB-1001.").await;
    assert!(ben.shows("for $40.00").await);
    ben.shot("sell-sold-360-light").await;
    assert_eq!(shop.stock(&turtle).await, (0, 0));
    ben.clicks("Undo this sale").await;
    ben.sees("Turtle").await;
    assert_eq!(shop.stock(&turtle).await, (1, 0));
    assert_eq!(shop.statuses().await, ["refunded"]);
    ben.heard_nothing_bad().await;
    settles(&shop).await;
}

#[tokio::test]
async fn several_pieces_are_sold_at_the_stall_for_the_sum_on_the_button() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    for name in ["Sunrise", "Raven", "Turtle"] {
        shop.stocks(name, 2).await;
    }
    shop.run_jobs().await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.goes_to("/admin/sell").await;
    ben.clicks_at("#found a[href$='turtle']").await;
    ben.fills("Pieces", "2").await;
    ben.clicks_at("#found button[value='raven']").await;
    ben.sees("Sell for $141.00").await;
    ben.clicks_at("#sale summary").await;
    ben.fills("Discount", "10%").await;
    ben.sees("Sell for $126.90").await;
    ben.clicks_at(".methods label:nth-child(2)").await;
    ben.clicks_at("form[action='/admin/sell'] button.main")
        .await;
    ben.sees("Sold: SB-1001.").await;
    assert!(ben.shows("for $126.90").await);
    ben.heard_nothing_bad().await;
    settles(&shop).await;
}

#[tokio::test]
async fn a_piece_is_sold_with_keys_alone() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    shop.stocks("Sunrise", 2).await;
    let turtle = shop.stocks("Turtle", 1).await;
    shop.run_jobs().await;
    let ben = driver.opens(&shop, LAPTOP).await;
    ben.goes_to("/admin/sell").await;
    // The first field has the focus already.
    ben.presses(STAFF).await;
    ben.tabs_to("Password").await;
    ben.presses(PASSWORD).await;
    ben.tabs_to("Sign in").await;
    ben.presses(Key::Enter).await;
    ben.sees("In-person sale").await;
    // Past the rooms in one step.
    ben.tabs_to("Skip to the content").await;
    ben.presses(Key::Enter).await;
    ben.tabs_to("Find a piece").await;
    ben.presses("turt").await;
    ben.waits_for("Turtle alone", async || {
        let pieces = ben.driver.find_all(By::Css("#found li")).await.ok()?;
        (pieces.len() == 1).then_some(())
    })
    .await;
    ben.tabs_to("Turtle").await;
    ben.presses(Key::Enter).await;
    ben.sees("Price of one").await;
    ben.tabs_to("Price of one").await;
    ben.presses("40").await;
    ben.tabs_to("Sell").await;
    ben.presses(Key::Enter).await;
    ben.sees("Sold: SB-1001.").await;
    assert!(ben.shows("for $40.00").await);
    ben.tabs_to("Undo this sale").await;
    ben.presses(Key::Enter).await;
    ben.waits_for("Turtle in stock", async || {
        (shop.stock(&turtle).await == (1, 0)).then_some(())
    })
    .await;
    ben.heard_nothing_bad().await;
    settles(&shop).await;
}
