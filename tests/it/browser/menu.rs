//! The menu of a phone.

use thirtyfour::prelude::*;

use super::{Driver, PHONE};
use crate::admin::{STAFF, staffed};

#[tokio::test]
async fn the_menu_of_a_phone_closes_by_escape_and_by_a_tap_beside_it() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = staffed().await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    let is_open = async || {
        ben.asks("return document.querySelector('.thumb details').open;")
            .await
    };
    let opens = async || {
        ben.clicks_at(".thumb summary").await;
        assert_eq!(is_open().await, true);
    };
    opens().await;
    ben.presses(Key::Escape).await;
    assert_eq!(is_open().await, false);
    let focus = ben.asks("return document.activeElement.localName;").await;
    assert_eq!(
        focus, "summary",
        "the focus is back where the menu was opened"
    );
    opens().await;
    ben.clicks_at("h1").await;
    assert_eq!(is_open().await, false);
    opens().await;
    ben.clicks_at(".sheet a[href='/admin/products']").await;
    ben.sees("New product").await;
    ben.heard_nothing_bad().await;
}
