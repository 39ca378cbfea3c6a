//! Shipping from a phone: the address copied, the carrier recognized, the barcode scanned.

use serde_json::{Value, json};
use thirtyfour::prelude::*;

use super::walks::{Images, settles};
use super::{Driver, PHONE, Window};
use crate::admin::{STAFF, staffed};
use crate::support::{Shop, card, session_of};

/// A camera that sees one barcode, as the browsers that have the detector show it to a page.
const SCANNER: &str = "
    window.BarcodeDetector = class {
        static getSupportedFormats() { return Promise.resolve(['code_128', 'qr_code']); }
        constructor({formats}) { window.formats = formats; }
        detect() { return Promise.resolve([{rawValue: window.barcode ?? '\\u001d420972059400111899223344556677'}]); }
    };
    navigator.mediaDevices.getUserMedia = ({video}) => {
        if (window.refused) return Promise.reject(new DOMException('no', 'NotAllowedError'));
        window.facing = video.facingMode;
        const canvas = document.createElement('canvas');
        canvas.getContext('2d').fillRect(0, 0, 10, 10);
        window.stream = canvas.captureStream(5);
        return Promise.resolve(window.stream);
    };";

/// A shop with two orders to pack.
async fn two_to_pack() -> Shop {
    let shop = staffed().await;
    let piece = shop.stocks("Sunrise", 2).await;
    for _ in 0..2 {
        let session = session_of(&shop.shopper().check_out(&[(&piece, 1)]).await);
        shop.stripe.pay(&session, card()).await.expect("a payment");
    }
    shop.deliver().await;
    shop.run_jobs().await;
    shop
}

/// The carrier that is chosen.
async fn carrier(window: &Window) -> Value {
    window
        .asks("return document.querySelector('[data-carriers] input:checked')?.value ?? null;")
        .await
}

#[tokio::test]
async fn an_order_is_shipped_from_the_list_in_three_taps() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = two_to_pack().await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.clicks_at(".thumb a[href='/admin/orders']").await;

    // The order, the field, the button.
    ben.clicks_at("#found a[href='/admin/orders/SB-1001']")
        .await;
    ben.clicks_at("#ship-tracking_number").await;
    ben.presses("1z999aa10123456784").await;
    ben.sees("Recognized: UPS").await;
    assert_eq!(carrier(&ben).await, "UPS");
    ben.clicks("Mark shipped").await;
    ben.sees("SB-1001 is shipped").await;
    assert!(ben.shows("UPS 1z999aa10123456784").await);

    // The last carrier is preselected; what somebody picks stays.
    ben.goes_to("/admin/orders/SB-1002").await;
    assert_eq!(carrier(&ben).await, "UPS");
    ben.fills("Tracking number", "986578788855").await;
    assert_eq!(carrier(&ben).await, "FedEx");
    ben.picks("DHL").await;
    ben.sees("This looks like a number of FedEx.").await;
    ben.fills("Tracking number", "9865 7878 8855").await;
    assert_eq!(carrier(&ben).await, "DHL");
    // A large photograph is shrunk first, even when the form is sent at once.
    let large = Images::take(&[(3400, 1700)]);
    ben.attaches("Photos of the shipment", &large.paths()).await;
    ben.clicks("Mark shipped").await;
    ben.sees("DHL 9865 7878 8855").await;
    let (width, height): (i32, i32) = sqlx::query_as("select width, height from images")
        .fetch_one(&shop.db)
        .await
        .expect("the photograph");
    assert_eq!((width, height), (3200, 1600));
    ben.heard_nothing_bad().await;
    settles(&shop).await;
}

#[tokio::test]
async fn carriers_are_recognized_while_a_number_is_typed_as_the_shop_does() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = two_to_pack().await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.goes_to("/admin/orders/SB-1001").await;
    let samples = include_str!("../../data/tracking-numbers.json");
    let told = ben
        .asks(&format!(
            "const field = document.getElementById('ship-tracking_number');
             const note = document.getElementById('ship-tracking_number-hint');
             return {samples}.map(([typed]) => {{
                 field.value = typed;
                 field.dispatchEvent(new Event('input', {{bubbles: true}}));
                 return note.textContent;
             }});"
        ))
        .await;
    let samples: Vec<(String, Option<String>, String)> =
        serde_json::from_str(samples).expect("samples");
    for ((typed, carrier, _), told) in samples.iter().zip(told.as_array().expect("notes")) {
        let expected = carrier.as_ref().map(|name| format!("Recognized: {name}"));
        assert_eq!(told, &expected.unwrap_or_default(), "{typed}");
    }
}

#[tokio::test]
async fn the_address_is_copied_with_keys_alone() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = two_to_pack().await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.goes_to("/admin/orders/SB-1001").await;
    let origin = json!({
        "origin": shop.address,
        "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"],
    });
    ben.devtools("Browser.grantPermissions", origin).await;
    ben.tabs_to("Copy address").await;
    ben.presses(Key::Enter).await;
    ben.sees("Copied").await;
    let copied = ben.asks("return navigator.clipboard.readText();").await;
    let label = "Jane Shopper\n123 Main Street\nPortland, OR 97205";
    assert_eq!(copied, label);
    ben.heard_nothing_bad().await;
}

#[tokio::test]
async fn a_barcode_is_scanned_where_the_browser_can() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = two_to_pack().await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    ben.goes_to("/admin/orders/SB-1001").await;
    let scan = By::Css("[data-scan]");
    let button = ben.driver.find(scan).await.expect("a button");
    assert!(
        !button.is_displayed().await.expect("its state"),
        "no scanner here"
    );

    let scanner = json!({"source": SCANNER});
    ben.devtools("Page.addScriptToEvaluateOnNewDocument", scanner)
        .await;
    ben.goes_to("/admin/orders/SB-1001").await;
    ben.asks("window.barcode = 'not a number!';").await;
    ben.clicks("Scan Tracking number").await;
    ben.sees("Point the camera at the tracking barcode.").await;
    ben.shot("order-scanning-360-light").await;
    ben.clicks("Cancel").await;
    let live = "return [window.facing, window.formats, window.stream.getTracks().some(track => track.readyState === 'live'),
                       document.querySelector('dialog')];";
    let after = json!(["environment", ["code_128"], false, null]);
    // The browser tells that a dialog is closed a moment later.
    let is_over = async || {
        ben.waits_for("end of the scan", async || {
            (ben.asks(live).await == after).then_some(())
        })
        .await;
    };
    is_over().await;

    ben.asks("window.barcode = undefined;").await;
    ben.clicks("Scan Tracking number").await;
    ben.sees("Recognized: USPS").await;
    assert_eq!(ben.value("Tracking number").await, "9400111899223344556677");
    assert_eq!(carrier(&ben).await, "USPS");
    is_over().await;

    ben.asks("window.refused = true;").await;
    ben.clicks("Scan Tracking number").await;
    ben.sees("The camera cannot be used.").await;
    ben.clicks("Cancel").await;
    ben.clicks("Mark shipped").await;
    ben.sees("Has it arrived?").await;
    ben.heard_nothing_bad().await;
    settles(&shop).await;
}

/// Links, buttons and fields of the page that are less high than a finger is wide, but for links within a sentence.
const SMALL: &str = "
    for (const one of document.querySelectorAll('main details')) one.open = true;
    return [...document.querySelectorAll('main :is(a, button, summary, select, textarea, input:not([type=hidden]))')]
        .filter(one => one.checkVisibility() && !one.closest('p:not(.contact, .crumb)'))
        .map(one => [one, (one.type === 'checkbox' ? one.closest('label') : one).getBoundingClientRect()])
        .filter(([one, box]) => box.height < 44 && box.height > 1)
        .map(([one, box]) => `${one.outerHTML.slice(0, 120)} ${box.height}`);";

#[tokio::test]
async fn a_thumb_hits_everything_on_the_pages_of_orders() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let shop = two_to_pack().await;
    let ben = driver.opens(&shop, PHONE).await;
    ben.signs_in(STAFF).await;
    let mut small = Vec::new();
    let mut look = async |path: &str| {
        ben.goes_to(path).await;
        let found = ben.asks(SMALL).await;
        small.extend(
            found
                .as_array()
                .expect("a list")
                .iter()
                .map(|one| format!("{path}: {one}")),
        );
    };
    let asked = json!({"name": "Cy", "email": "cy@example.com", "description": "A raven, please."});
    let asked = shop.client.post("/api/custom-orders/", &asked).await;
    assert_eq!(asked.status, 201, "{}", asked.text);
    look("/admin/custom-orders").await;
    look("/admin/custom-orders/CO-1001").await;
    look("/admin/orders").await;
    look("/admin/orders/SB-1001").await;
    look("/admin/orders/ship?order=SB-1001&order=SB-1002").await;
    ben.goes_to("/admin/orders/SB-1001").await;
    ben.picks("USPS").await;
    ben.clicks("Mark shipped").await;
    ben.sees("Has it arrived?").await;
    look("/admin/orders/SB-1001").await;
    assert!(small.is_empty(), "{}", small.join("\n"));
    settles(&shop).await;
}
