//! Images on their way from the browser: lines that drop, and what is chosen meanwhile.

use serde_json::{Value, json};

use super::walks::Images;
use super::{Driver, PHONE, Window};
use crate::admin::{STAFF, staffed};
use crate::support::Shop;

async fn is_offline(window: &Window, offline: bool) {
    let line = json!({
        "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
    });
    window
        .devtools("Network.emulateNetworkConditions", line)
        .await;
}

async fn widths(shop: &Shop) -> Vec<Value> {
    let product = shop.client.get("/api/products/sunrise/").await.json;
    let images = product["images"].as_array().expect("images").iter();
    images.map(|image| image["width"].clone()).collect()
}

#[tokio::test]
async fn what_did_not_arrive_is_sent_again_by_the_button_with_what_was_chosen_since() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    shop.stocks("Sunrise", 1).await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.goes_to("/admin/products/sunrise").await;
    let [first, second] = [Images::take(&[(300, 200)]), Images::take(&[(200, 300)])];

    is_offline(&ben, true).await;
    ben.attaches("Add images", &first.paths()).await;
    ben.sees("That did not arrive. Are you online? Try again.")
        .await;
    ben.attaches("Add images", &second.paths()).await;
    ben.sees("You seem to be offline. Try again.").await;
    is_offline(&ben, false).await;
    ben.clicks("Upload").await;
    ben.sees("2 images are added.").await;
    assert_eq!(widths(&shop).await, [300, 200]);

    // Afterwards all is as before.
    let third = Images::take(&[(100, 100)]);
    ben.attaches("Add images", &third.paths()).await;
    ben.sees("The image is added.").await;
    assert_eq!(widths(&shop).await, [300, 200, 100]);
    shop.run_jobs().await;
}
