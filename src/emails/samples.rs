//! Sample emails, one of every kind.

use chrono::{DateTime, TimeZone, Utc};
use uuid::Uuid;

use super::message::{
    CustomOrderEmailData, DelayedPaymentEmailData, Email, Holds, LineEmailData, OrderEmailData,
    PaymentRefusal, QuoteEmailData, RefusalEmailData, ReviewItemEmailData, ShipmentEmailData,
};
use crate::types::address::Address;
use crate::types::ids::{CustomOrderId, ImageId};
use crate::types::money::Cents;

/// One sample of every kind, by a unique name. Product images are those of the demo catalog; uploaded images are named
/// by `images`.
pub fn emails() -> Vec<(&'static str, Email)> {
    let mut emails = of_orders();
    emails.extend(of_custom_orders());
    emails
}

fn of_orders() -> Vec<(&'static str, Email)> {
    vec![
        (
            "order_confirmation",
            Email::OrderConfirmation { order: order() },
        ),
        (
            "order_confirmation_abroad",
            Email::OrderConfirmation {
                order: order_abroad(),
            },
        ),
        (
            "receipt",
            Email::Receipt {
                order: OrderEmailData {
                    discount: Cents(1000),
                    shipping: Cents::ZERO,
                    total: Cents(20_000),
                    shipping_name: None,
                    shipping_address: None,
                    ..order()
                },
                paid_with: Some("Cash".to_owned()),
                is_to_ship: false,
            },
        ),
        (
            "you_sold",
            Email::YouSold {
                order: order(),
                custom_order: None,
                email: Some("maya.tallchief@example.com".to_owned()),
            },
        ),
        (
            "you_sold_custom",
            Email::YouSold {
                order: ordered_piece(),
                custom_order: Some("CO-1017".to_owned()),
                email: Some("maya.tallchief@example.com".to_owned()),
            },
        ),
        (
            "order_shipped",
            Email::OrderShipped {
                order: order(),
                shipment: shipment(Vec::new()),
            },
        ),
        ("not_shipped_yet", Email::NotShippedYet { order: order() }),
        (
            "shipment_corrected",
            Email::ShipmentCorrected {
                order: order(),
                shipment: shipment(Vec::new()),
            },
        ),
        (
            "order_refunded",
            Email::OrderRefunded {
                order: order(),
                amount: Cents(1200),
                refunded: Cents(1200),
            },
        ),
        (
            "could_not_fulfill",
            Email::CouldNotFulfill { refusal: refusal() },
        ),
        (
            "could_not_fulfill_notice",
            Email::CouldNotFulfillNotice { refusal: refusal() },
        ),
        (
            "payment_processing",
            Email::PaymentProcessing {
                payment: delayed("SB-1042", Holds::Pieces),
            },
        ),
        (
            "payment_processing_not_held",
            Email::PaymentProcessing {
                payment: delayed("SB-1042", Holds::NoPieces),
            },
        ),
        (
            "payment_processing_custom",
            Email::PaymentProcessing {
                payment: delayed("CO-1017", Holds::Nothing),
            },
        ),
        (
            "payment_failed",
            Email::PaymentFailed {
                payment: delayed("SB-1042", Holds::Pieces),
            },
        ),
        (
            "payment_failed_custom",
            Email::PaymentFailed {
                payment: delayed("CO-1017", Holds::Nothing),
            },
        ),
    ]
}

fn of_custom_orders() -> Vec<(&'static str, Email)> {
    let email = "maya.tallchief@example.com".to_owned();
    vec![
        (
            "new_custom_order",
            Email::NewCustomOrder {
                custom_order: CustomOrderEmailData {
                    status_url: None,
                    ..custom_order()
                },
                email,
            },
        ),
        (
            "custom_order_received",
            Email::CustomOrderReceived { custom_order: custom_order() },
        ),
        (
            "custom_order_approved",
            Email::CustomOrderApproved {
                custom_order: custom_order(),
                quote: QuoteEmailData {
                    amount: Cents(14_500),
                    shipping: Cents(500),
                    total: Cents(15_000),
                    currency: "usd".to_owned(),
                    description: "A Classic BIC case in turquoise, coral and gold, after your drawing.\nAbout 1,900 glass \
                             beads, two to three weeks of work."
                        .to_owned(),
                    valid_until: day(12, 8),
                    payment_url: "https://buy.stripe.com/test_14k5mBd0qf2x".to_owned(),
                },
            },
        ),
        (
            "payment_received",
            Email::PaymentReceived {
                custom_order: custom_order(),
                order: ordered_piece(),
            },
        ),
        (
            "quote_withdrawn",
            Email::QuoteWithdrawn {
                custom_order: custom_order(),
                reason: "The turquoise beads are out of stock until January. We will send you a new price then.".to_owned(),
            },
        ),
        (
            "custom_order_message",
            Email::CustomOrderMessage {
                custom_order: custom_order(),
                text: "Here is a first drawing of the heron.\n\nWould you like the water in turquoise or in a darker \
                       blue? Just answer this email."
                    .to_owned(),
            },
        ),
        (
            "custom_order_rejected",
            Email::CustomOrderRejected {
                custom_order: custom_order(),
                reason: "The drawing has finer lines than beads can show.\n\nIf you can do with a simpler outline, please \
                         send it to us again."
                    .to_owned(),
            },
        ),
        (
            "custom_order_shipped",
            Email::CustomOrderShipped {
                custom_order: custom_order(),
                order: ordered_piece(),
                shipment: shipment(images()[..1].to_vec()),
            },
        ),
        (
            "custom_order_not_shipped_yet",
            Email::CustomOrderNotShippedYet {
                custom_order: custom_order(),
            },
        ),
        (
            "custom_order_shipment_corrected",
            Email::CustomOrderShipmentCorrected {
                custom_order: custom_order(),
                order: ordered_piece(),
                shipment: shipment(images()[..1].to_vec()),
            },
        ),
        (
            "review_item",
            Email::ReviewItem {
                item: ReviewItemEmailData {
                    headline: "SB-1042: The customer's bank disputes a payment".to_owned(),
                    about: Some("SB-1042".to_owned()),
                    text: "The bank disputes $215.00: the customer says that the payment was not theirs. Don't ship."
                        .to_owned(),
                    deadline: Some(day(12, 8)),
                    advice: "Answer in Stripe's dashboard before the deadline, with all that shows that the order was \
                             theirs."
                        .to_owned(),
                    page: "/admin/orders/SB-1042".to_owned(),
                },
            },
        ),
    ]
}

/// Ids of the uploaded images in the samples.
pub fn images() -> [ImageId; 2] {
    ["1", "2"].map(|digit| ImageId(digit.repeat(64)))
}

fn day(month: u32, day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, month, day, 15, 4, 0)
        .single()
        .expect("a day of the calendar")
}

fn line(name: &str, detail: &str, quantity: i32, price: i64, image: Option<&str>) -> LineEmailData {
    LineEmailData {
        name: name.to_owned(),
        detail: Some(detail.to_owned()),
        quantity,
        unit_price: Cents(price),
        image: image.map(|name| format!("/media/demo/{name}-a.png")),
    }
}

fn order() -> OrderEmailData {
    OrderEmailData {
        number: "SB-1042".to_owned(),
        paid_at: Some(day(11, 24)),
        currency: "usd".to_owned(),
        lines: vec![
            line(
                "Lantern Star",
                "Star Path · Classic BIC",
                1,
                5400,
                Some("lantern-star"),
            ),
            line(
                "Tidewalk",
                "Water & Shore · Mini BIC",
                2,
                4700,
                Some("tidewalk"),
            ),
            line(
                "Moon over the Ridge",
                "Uncategorized · Classic BIC",
                1,
                6200,
                Some("moon-over-the-ridge"),
            ),
        ],
        subtotal: Cents(21_000),
        discount: Cents::ZERO,
        shipping: Cents(500),
        tax: Cents::ZERO,
        total: Cents(21_500),
        customer_name: Some("Maya Tallchief".to_owned()),
        shipping_name: Some("Maya Tallchief".to_owned()),
        shipping_address: Some(Address {
            line1: Some("2817 NW Thurman Street".to_owned()),
            line2: Some("Apt 4".to_owned()),
            city: Some("Portland".to_owned()),
            state: Some("OR".to_owned()),
            postal_code: Some("97210".to_owned()),
            country: Some("US".to_owned()),
        }),
        estimated_delivery: Some("December 1 to December 3, 2026".to_owned()),
        page_url: Some("https://shop.example.com/orders/01936b2e".to_owned()),
    }
}

/// A sample with long and non-ASCII texts and missing values.
fn order_abroad() -> OrderEmailData {
    OrderEmailData {
        number: "SB-10427".to_owned(),
        currency: "eur".to_owned(),
        lines: vec![
            line(
                "A Very Long Name for a Small Piece, Which Somebody Thought of on a Long Winter Evening",
                "Donaudampfschifffahrtsgesellschaftskollektion · Classic BIC",
                12,
                104_900,
                None,
            ),
            line(
                "Grandmother’s Window <No. 3>",
                "Windows & Doors · Mini BIC",
                1,
                4700,
                Some("grandmothers-window"),
            ),
        ],
        subtotal: Cents(1_263_500),
        shipping: Cents(2000),
        tax: Cents(24_087),
        total: Cents(1_289_587),
        customer_name: Some("Jürgen von der Wellen-Großmann".to_owned()),
        shipping_name: Some("Familie Jürgen von der Wellen-Großmann".to_owned()),
        shipping_address: Some(Address {
            line1: Some("Schützenstraße 12".to_owned()),
            line2: None,
            city: Some("Garmisch-Partenkirchen".to_owned()),
            state: None,
            postal_code: Some("82467".to_owned()),
            country: Some("DE".to_owned()),
        }),
        ..order()
    }
}

fn ordered_piece() -> OrderEmailData {
    OrderEmailData {
        number: "SB-1058".to_owned(),
        lines: vec![line(
            "A piece made for you",
            "Custom · Classic BIC",
            1,
            14_500,
            None,
        )],
        subtotal: Cents(14_500),
        total: Cents(15_000),
        estimated_delivery: None,
        page_url: None,
        ..order()
    }
}

fn shipment(images: Vec<ImageId>) -> ShipmentEmailData {
    ShipmentEmailData {
        carrier: Some("USPS".to_owned()),
        tracking_number: Some("9400 1000 0000 0000 0000 00".to_owned()),
        tracking_url: Some(
            "https://tools.usps.com/go/TrackConfirmAction?tLabels=9400100000000000000000"
                .to_owned(),
        ),
        shipped_at: day(11, 26),
        images,
    }
}

fn delayed(about: &str, holds: Holds) -> DelayedPaymentEmailData {
    let page = (holds == Holds::Nothing)
        .then(|| custom_order().status_url)
        .flatten();
    DelayedPaymentEmailData {
        about: about.to_owned(),
        customer_name: Some("Maya Tallchief".to_owned()),
        amount: Cents(21_500),
        currency: "usd".to_owned(),
        holds,
        status_url: page,
    }
}

fn refusal() -> RefusalEmailData {
    RefusalEmailData {
        about: "SB-1042".to_owned(),
        customer_name: Some("Maya Tallchief".to_owned()),
        amount: Cents(21_500),
        currency: "usd".to_owned(),
        due: Cents(21_500),
        why: PaymentRefusal::SoldMeanwhile,
        is_customer_told: true,
    }
}

fn custom_order() -> CustomOrderEmailData {
    CustomOrderEmailData {
        id: CustomOrderId(Uuid::from_u128(0x0193_6b2e_7d10_7c44_9a51_0b5c_2f3d_8e90)),
        number: "CO-1017".to_owned(),
        customer_name: "Maya Tallchief".to_owned(),
        description: "A case for my brother's birthday, with a heron by the water.\n\nHe fishes at dawn, so please no \
                      bright red. The photos show the river, and a basket of our grandmother's whose border I \
                      would love to see around it."
            .to_owned(),
        colors: Some("Turquoise, coral, a little gold".to_owned()),
        images: images().to_vec(),
        status_url: Some("https://shop.example.com/requests/01936b2e".to_owned()),
    }
}
