//! The admin in a browser that runs no scripts.

use super::walks::{Images, settles};
use super::{Driver, PHONE};
use crate::admin::{STAFF, staffed};
use crate::support::{card, session_of};

#[tokio::test]
async fn without_scripts_the_admin_works_all_the_same() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 2).await;
    let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
    shop.stripe.pay(&session, card()).await.expect("a payment");
    shop.deliver().await;
    shop.run_jobs().await;
    let ben = driver.opens_without_scripts(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    assert_eq!(ben.asks("return typeof htmx;").await, "undefined");

    ben.clicks("Menu").await;
    ben.clicks("Products").await;
    ben.fills("Search", "sun").await;
    ben.clicks("Show").await;
    // The list before it has the same link.
    ben.waits_for("the found products", async || {
        ben.path().await.contains("search=sun").then_some(())
    })
    .await;
    ben.clicks_at("#found a[href='/admin/products/sunrise']")
        .await;
    ben.fills("Price", "49").await;
    ben.clicks("Save").await;
    ben.sees("Sunrise is saved.").await;
    let images = Images::take(&[(300, 200)]);
    ben.attaches("Add images", &images.paths()).await;
    ben.clicks("Upload").await;
    ben.sees("The image is added.").await;

    ben.clicks_at(".thumb a[href='/admin/orders']").await;
    ben.clicks_at("#found a[href='/admin/orders/SB-1001']")
        .await;
    // The number tells the carrier.
    ben.fills("Tracking number", "9400 1118 9922 3344 5566 77")
        .await;
    ben.clicks("Mark shipped").await;
    ben.sees("Has it arrived?").await;
    assert_eq!(shop.statuses().await, ["shipped"]);
    assert!(ben.shows("USPS 9400 1118 9922 3344 5566 77").await);
    let product = shop.client.get("/api/products/sunrise/").await.json;
    assert_eq!(product["price"], 4900);
    ben.heard_nothing_bad().await;
    settles(&shop).await;
}
