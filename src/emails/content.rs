//! Texts of all emails: a subject, a heading, and blocks that the templates render as HTML and plain text.

use chrono_tz::Tz;

use super::message::{
    CustomOrderEmailData, DelayedPaymentEmailData, Email, Holds, OrderEmailData, QuoteEmailData,
    Refusal, RefusalEmailData, ReviewItemEmailData, ShipmentEmailData,
};
use crate::mail::{Branding, one_line};
use crate::types::calendar;
use crate::types::money::Cents;

/// The content of an email.
pub struct Page {
    pub subject: String,
    /// The preview text that mail programs list beside the subject.
    pub preview: String,
    pub heading: String,
    pub blocks: Vec<Block>,
    /// Sent to the shop itself, so the polite footer is left out.
    pub inside: bool,
}

/// A part of an email.
pub enum Block {
    Text(String),
    /// A person's own words, with their line breaks.
    Quote {
        title: &'static str,
        text: String,
    },
    /// Names and values.
    Details(Vec<(&'static str, String)>),
    Lines(Vec<Line>),
    /// Names and amounts; the last one is the total.
    Sum(Vec<(&'static str, String)>),
    Address {
        title: &'static str,
        lines: Vec<String>,
    },
    Button {
        label: String,
        url: String,
    },
    Link {
        label: &'static str,
        url: String,
    },
    /// Sources of images, shown in the email's full width.
    Images(Vec<String>),
    /// A remark in small print.
    Remark(String),
}

/// A line of an order.
pub struct Line {
    /// Value of the image's `src`; `None` without an image.
    pub image: Option<String>,
    pub name: String,
    pub detail: Option<String>,
    pub quantity: i32,
    pub unit_price: String,
    pub amount: String,
}

/// Images that could be read, as values for `src`.
#[derive(Default)]
pub struct Shown {
    /// One for each line of the order.
    pub lines: Vec<Option<String>>,
    /// Images of the finished piece.
    pub images: Vec<String>,
    pub attached: usize,
    /// Number of images that could not be sent.
    pub left_out: usize,
}

/// Beginnings of subjects that end in a customer's name or an order number.
const GIVEN_BACK: &str = "Payment Given Back: ";
const NOTHING_PAID: &str = "Nothing Was Paid: ";
const NEW_REQUEST: &str = "New Custom Order Request from ";
const PLEASE_REVIEW: &str = "Please Look: ";

/// Subjects that contain a word, for the email search.
pub struct Subjects {
    /// Kinds whose fixed subject contains it.
    pub kinds: Vec<&'static str>,
    /// Beginnings of the other subjects: refunded payments, checkouts without a payment, new custom orders, review items.
    pub given_back: &'static str,
    pub nothing_paid: &'static str,
    pub new_custom_order: &'static str,
    pub please_review: &'static str,
}

impl Subjects {
    /// Finds the current subjects that contain this word.
    pub fn with(word: &str, branding: &Branding) -> Subjects {
        let word = word.to_lowercase();
        let kinds = super::samples::emails()
            .into_iter()
            .filter(|(_, email)| {
                let subject = Page::new(email, branding, &Shown::default()).subject;
                let varies = matches!(
                    email,
                    Email::CouldNotFulfillNotice { .. }
                        | Email::NewCustomOrder { .. }
                        | Email::ReviewItem { .. }
                );
                !varies && subject.to_lowercase().contains(&word)
            })
            .map(|(_, email)| email.kind())
            .collect();
        Subjects {
            kinds,
            given_back: GIVEN_BACK,
            nothing_paid: NOTHING_PAID,
            new_custom_order: NEW_REQUEST,
            please_review: PLEASE_REVIEW,
        }
    }
}

impl Page {
    /// Composes an email.
    pub fn new(email: &Email, branding: &Branding, shown: &Shown) -> Page {
        let shop = &branding.name;
        match email {
            Email::OrderConfirmation { order } => order_confirmation(order, branding, shown),
            Email::OrderShipped { order, shipment } => {
                order_shipped(order, shipment, branding, shown)
            }
            Email::OrderRefunded {
                order,
                amount,
                refunded,
            } => order_refunded(order, *amount, *refunded, shop),
            Email::CouldNotFulfill { refusal } => could_not_fulfill(refusal, shop),
            Email::CouldNotFulfillNotice { refusal } => could_not_fulfill_notice(refusal),
            Email::PaymentProcessing { payment } => payment_processing(payment, shop),
            Email::PaymentFailed { payment } => payment_failed(payment, shop),
            Email::NewCustomOrder {
                custom_order,
                email,
            } => new_custom_order(custom_order, email, shown),
            Email::CustomOrderReceived { custom_order } => {
                custom_order_received(custom_order, shop)
            }
            Email::CustomOrderApproved {
                custom_order,
                quote,
            } => custom_order_approved(custom_order, quote, branding),
            Email::PaymentReceived {
                custom_order,
                order,
            } => payment_received(custom_order, order, branding),
            Email::QuoteWithdrawn {
                custom_order,
                reason,
            } => quote_withdrawn(custom_order, reason),
            Email::CustomOrderRejected {
                custom_order,
                reason,
            } => custom_order_rejected(custom_order, reason),
            Email::CustomOrderShipped {
                custom_order,
                order,
                shipment,
            } => custom_order_shipped(custom_order, order, shipment, branding, shown),
            Email::ReviewItem { item } => review_item(item, branding),
        }
    }
}

fn order_confirmation(order: &OrderEmailData, branding: &Branding, shown: &Shown) -> Page {
    let shop = &branding.name;
    let total = order.total.in_currency(&order.currency);
    let mut blocks = vec![
        greeting(order.customer_name.as_deref()),
        Block::Text(
            "Thank you: your order is paid, and we are getting it ready to ship. You will hear from us again as soon as \
             it is on its way."
                .to_owned(),
        ),
        Block::Details(order_facts(order, branding.zone)),
        Block::Lines(lines(order, shown)),
        sum(order),
    ];
    blocks.extend(address(order));
    Page {
        subject: format!("Order Confirmation - {shop}"),
        preview: format!("Order {}, {total}", order.number),
        heading: "Thank you for your order".to_owned(),
        blocks,
        inside: false,
    }
}

fn order_shipped(
    order: &OrderEmailData,
    shipment: &ShipmentEmailData,
    branding: &Branding,
    shown: &Shown,
) -> Page {
    let shop = &branding.name;
    let mut blocks = vec![
        greeting(order.customer_name.as_deref()),
        Block::Text(format!(
            "Good news: your order {} has left our workshop and is on its way to you.",
            order.number
        )),
    ];
    blocks.extend(shipment_blocks(shipment, branding.zone, shown));
    blocks.push(Block::Lines(lines(order, shown)));
    blocks.extend(address(order));
    Page {
        subject: format!("Your Order Has Shipped! - {shop}"),
        preview: format!("Order {} is on its way", order.number),
        heading: "Your order is on its way".to_owned(),
        blocks,
        inside: false,
    }
}

fn order_refunded(order: &OrderEmailData, amount: Cents, refunded: Cents, shop: &str) -> Page {
    let money = |amount: Cents| amount.in_currency(&order.currency);
    let how = if refunded >= order.total {
        "That is all that you had paid."
    } else {
        "The rest of your order stands."
    };
    let mut sums = vec![("Order total", money(order.total))];
    if refunded != amount {
        sums.push(("Given back before", money(Cents(refunded.0 - amount.0))));
    }
    sums.push(("Given back now", money(amount)));
    Page {
        subject: format!("Your Refund - {shop}"),
        preview: format!("{} of order {}", money(amount), order.number),
        heading: "Your refund".to_owned(),
        blocks: vec![
            greeting(order.customer_name.as_deref()),
            Block::Text(format!(
                "We have given you back {} of your order {}. {how}",
                money(amount),
                order.number
            )),
            Block::Sum(sums),
            Block::Remark(BANKS.to_owned()),
        ],
        inside: false,
    }
}

const BANKS: &str =
    "The money goes back the way it came. Banks take five to ten business days to show it.";

fn could_not_fulfill(refusal: &RefusalEmailData, shop: &str) -> Page {
    let amount = refusal.amount.in_currency(&refusal.currency);
    let why = match refusal.why {
        Refusal::SoldMeanwhile => {
            "While your payment was on its way, the time for which we could hold your pieces ran out, and somebody else \
             bought them. Most of our pieces exist only once, so we cannot send you another."
        }
        Refusal::PaidTwice => {
            "This order had been paid already. Your first payment stands, and so does your order."
        }
        Refusal::AmountDiffers => {
            "The amount that reached us is not what the order comes to, so we could not accept the payment."
        }
        Refusal::QuoteClosed => {
            "The quote that you paid was no longer open. Please write to us if you would still like the piece: we will \
             gladly send you a new one."
        }
    };
    let is_back = refusal.due.is_some_and(|due| due <= Cents::ZERO);
    let (heading, how) = match is_back {
        false => (
            "Your payment is on its way back",
            "You need not do anything: the whole amount is being given back to you.",
        ),
        true => (
            "Your payment was given back",
            "You need not do anything: the whole amount has been given back to you already.",
        ),
    };
    Page {
        subject: format!("About Your Payment - {shop}"),
        preview: format!("Your payment of {amount} is given back in full"),
        heading: heading.to_owned(),
        blocks: vec![
            greeting(refusal.customer_name.as_deref()),
            Block::Text(format!(
                "We received a payment of {amount} from you, and we are sorry that we cannot keep it. {why}"
            )),
            Block::Text(how.to_owned()),
            Block::Details(vec![("For", refusal.about.clone()), ("Given back", amount)]),
            Block::Remark(BANKS.to_owned()),
        ],
        inside: false,
    }
}

fn could_not_fulfill_notice(refusal: &RefusalEmailData) -> Page {
    let amount = refusal.amount.in_currency(&refusal.currency);
    let why = match refusal.why {
        Refusal::SoldMeanwhile => "It came after the hold had run out, and the pieces are sold.",
        Refusal::PaidTwice => "It was paid already.",
        Refusal::AmountDiffers => "The amount or the currency is not what was asked for.",
        Refusal::QuoteClosed => "The quote had been withdrawn or replaced, or had lapsed.",
    };
    let mut details = vec![("For", refusal.about.clone())];
    details.extend(refusal.customer_name.clone().map(|name| ("From", name)));
    details.push(("Amount", amount.clone()));
    let is_back = refusal.due.is_some_and(|due| due <= Cents::ZERO);
    let (subject, preview) = match refusal.amount == Cents::ZERO {
        true => (NOTHING_PAID, why.to_owned()),
        false => (GIVEN_BACK, format!("{amount}. {why}")),
    };
    let (heading, what) = match is_back {
        _ if refusal.amount == Cents::ZERO => (
            "A checkout without a payment",
            "A checkout over nothing could not become an order. Nothing was paid, so nothing is given back.",
        ),
        false => (
            "A payment is given back",
            "A payment could not become an order and is given back in full, by itself.",
        ),
        true => (
            "A payment is given back",
            "A payment could not become an order. It had been given back in full already.",
        ),
    };
    let told = match refusal.is_customer_told {
        true => "The customer gets an email about it, too.",
        false => "The customer gets no email about it.",
    };
    let later = match is_back {
        false => " Should the refund fail, the order or the request will say so.",
        true => "",
    };
    Page {
        subject: format!("{subject}{}", one_line(&refusal.about, 60)),
        preview,
        heading: heading.to_owned(),
        blocks: vec![
            Block::Text(format!("{what} {why}")),
            Block::Details(details),
            Block::Remark(format!("{told}{later}")),
        ],
        inside: true,
    }
}

fn payment_processing(payment: &DelayedPaymentEmailData, shop: &str) -> Page {
    let amount = payment.amount.in_currency(&payment.currency);
    let until_then = match payment.holds {
        Holds::Pieces => "We keep your pieces for you until then.",
        Holds::NoPieces => {
            "We cannot keep your pieces for you for so long. If they are still here when the payment arrives, they are \
             yours; if not, we give you all of it back."
        }
        Holds::Nothing => "We begin to make your piece as soon as it is here.",
    };
    let mut blocks = vec![
        greeting(payment.customer_name.as_deref()),
        Block::Text(format!(
            "Thank you: your payment of {amount} is on its way. The way to pay that you chose takes some days, because your \
             bank has to be asked for the money. We write to you as soon as it has arrived."
        )),
        Block::Text(until_then.to_owned()),
        Block::Details(vec![
            ("For", payment.about.clone()),
            ("Amount", amount.clone()),
        ]),
    ];
    blocks.extend(their_page(payment));
    Page {
        subject: format!("Your Payment Is on Its Way - {shop}"),
        preview: format!("{amount} for {}: this takes some days", payment.about),
        heading: "Your payment is on its way".to_owned(),
        blocks,
        inside: false,
    }
}

fn payment_failed(payment: &DelayedPaymentEmailData, shop: &str) -> Page {
    let amount = payment.amount.in_currency(&payment.currency);
    let next = match payment.holds {
        Holds::Pieces | Holds::NoPieces => {
            "The pieces are for sale again. If you would still like them, please order them once more, perhaps with another \
             way to pay."
        }
        Holds::Nothing => {
            "The quote cannot be paid any more. Please answer this email if you would still like the piece: we will gladly \
             send you a new one."
        }
    };
    let mut blocks = vec![
        greeting(payment.customer_name.as_deref()),
        Block::Text(format!(
            "We are sorry: your bank did not make the payment of {amount}. Nothing was taken from you."
        )),
        Block::Text(next.to_owned()),
        Block::Details(vec![
            ("For", payment.about.clone()),
            ("Amount", amount.clone()),
        ]),
    ];
    blocks.extend(their_page(payment));
    Page {
        subject: format!("Your Payment Did Not Go Through - {shop}"),
        preview: format!("{amount} for {}: nothing was taken", payment.about),
        heading: "Your payment did not go through".to_owned(),
        blocks,
        inside: false,
    }
}

fn their_page(payment: &DelayedPaymentEmailData) -> Option<Block> {
    page_at(payment.status_url.as_deref()).map(|url| Block::Link {
        label: "See where your request stands",
        url,
    })
}

fn new_custom_order(custom_order: &CustomOrderEmailData, email: &str, shown: &Shown) -> Page {
    let name = one_line(&custom_order.customer_name, 100);
    let mut details = vec![("From", name.clone()), ("Email", one_line(email, 254))];
    details.extend(
        custom_order
            .colors
            .as_deref()
            .map(|colors| ("Colors", one_line(colors, 500))),
    );
    details.push(("Request", custom_order.number.clone()));
    let mut blocks = vec![
        Block::Text(format!("{name} would like a piece made.")),
        Block::Details(details),
        Block::Quote {
            title: "What they would like",
            text: custom_order.description.clone(),
        },
    ];
    let images = |count: usize| match count {
        1 => "1 photo".to_owned(),
        count => format!("{count} photos"),
    };
    if shown.attached > 0 {
        blocks.push(Block::Remark(format!(
            "Attached: {}.",
            images(shown.attached)
        )));
    }
    if shown.left_out > 0 {
        blocks.push(Block::Remark(format!(
            "Not attached, because they are too large or could not be read: {}. All are kept with the request.",
            images(shown.left_out)
        )));
    }
    blocks.push(Block::Remark(format!(
        "Answer this email to write to {name}."
    )));
    Page {
        subject: format!("{NEW_REQUEST}{name}"),
        preview: one_line(&custom_order.description, 100),
        heading: "A new request".to_owned(),
        blocks,
        inside: true,
    }
}

fn custom_order_received(custom_order: &CustomOrderEmailData, shop: &str) -> Page {
    // Repeats nothing of the request, not even the name: the address may belong to someone else, because a visitor can
    // type any.
    let mut blocks = vec![
        greeting(None),
        Block::Text(format!(
            "Your request for a piece made by hand has reached {shop}. We read every one ourselves, and answer within a \
             few days."
        )),
        Block::Details(vec![("Request", custom_order.number.clone())]),
    ];
    blocks.extend(status_link(custom_order));
    blocks.push(Block::Remark(
        "You did not ask us for anything? Then somebody mistyped their address, and you need not do anything.".to_owned(),
    ));
    Page {
        subject: "We Have Your Custom Order Request".to_owned(),
        preview: format!("Request {}: we will answer soon", custom_order.number),
        heading: "We have your request".to_owned(),
        blocks,
        inside: false,
    }
}

fn custom_order_approved(
    custom_order: &CustomOrderEmailData,
    quote: &QuoteEmailData,
    branding: &Branding,
) -> Page {
    let until = calendar::date(quote.valid_until, branding.zone);
    let money = |amount: Cents| amount.in_currency(&quote.currency);
    let mut sums = vec![("Your piece", money(quote.amount))];
    if quote.shipping > Cents::ZERO {
        sums.push(("Shipping", money(quote.shipping)));
    }
    sums.push(("Total", money(quote.total)));
    let mut blocks = vec![
        greeting(Some(&custom_order.customer_name)),
        Block::Text(
            "We would love to make the piece that you described. This is what it will cost; as soon as it is paid, we \
             begin."
                .to_owned(),
        ),
    ];
    if !quote.description.trim().is_empty() {
        blocks.push(Block::Quote {
            title: "What the price covers",
            text: quote.description.clone(),
        });
    }
    blocks.push(Block::Sum(sums));
    blocks.extend(button(
        format!("Pay {}", money(quote.total)),
        Some(&quote.payment_url),
    ));
    blocks.push(Block::Remark(format!(
        "The offer is open until {until}. The link can be paid once."
    )));
    blocks.extend(request_details(custom_order));
    Page {
        subject: "Your Custom Order Request Has Been Approved!".to_owned(),
        preview: format!("{}, open until {until}", money(quote.total)),
        heading: "We would love to make it".to_owned(),
        blocks,
        inside: false,
    }
}

fn payment_received(
    custom_order: &CustomOrderEmailData,
    order: &OrderEmailData,
    branding: &Branding,
) -> Page {
    let mut blocks = vec![
        greeting(Some(&custom_order.customer_name)),
        Block::Text(
            "Thank you: your payment has arrived, and your piece is in production. We will send you photos of it \
             when it is on its way."
                .to_owned(),
        ),
        Block::Details(order_facts(order, branding.zone)),
        sum(order),
    ];
    blocks.extend(address(order));
    blocks.extend(request_details(custom_order));
    Page {
        subject: "Payment Received - Your Custom Order is in Production!".to_owned(),
        preview: format!(
            "Order {}, {}",
            order.number,
            order.total.in_currency(&order.currency)
        ),
        heading: "Your piece is in production".to_owned(),
        blocks,
        inside: false,
    }
}

fn quote_withdrawn(custom_order: &CustomOrderEmailData, reason: &str) -> Page {
    let mut blocks = vec![
        greeting(Some(&custom_order.customer_name)),
        Block::Text(
            "We have taken back the quote that we sent you for your piece. Its payment link does not work any more; if \
             you have not paid, there is nothing that you need to do."
                .to_owned(),
        ),
    ];
    if !reason.trim().is_empty() {
        blocks.push(Block::Quote {
            title: "Why",
            text: reason.to_owned(),
        });
    }
    blocks.push(Block::Text(
        "Your request is still with us, and you will hear from us again. If you have a question, answer this email."
            .to_owned(),
    ));
    blocks.extend(request_details(custom_order));
    Page {
        subject: "Your Custom Order Quote Has Changed".to_owned(),
        preview: "We have taken back the quote that we sent you".to_owned(),
        heading: "We have taken back our quote".to_owned(),
        blocks,
        inside: false,
    }
}

fn custom_order_rejected(custom_order: &CustomOrderEmailData, reason: &str) -> Page {
    let mut blocks = vec![
        greeting(Some(&custom_order.customer_name)),
        Block::Text(
            "Thank you for telling us of the piece that you would like. We are sorry that we cannot make this one."
                .to_owned(),
        ),
    ];
    if !reason.trim().is_empty() {
        blocks.push(Block::Quote {
            title: "Why",
            text: reason.to_owned(),
        });
    }
    blocks.push(Block::Text(
        "If you have another idea, answer this email: we are glad to hear of it.".to_owned(),
    ));
    blocks.extend(request_details(custom_order));
    Page {
        subject: "Update on Your Custom Order Request".to_owned(),
        preview: "We are sorry that we cannot make this one".to_owned(),
        heading: "About your request".to_owned(),
        blocks,
        inside: false,
    }
}

fn custom_order_shipped(
    custom_order: &CustomOrderEmailData,
    order: &OrderEmailData,
    shipment: &ShipmentEmailData,
    branding: &Branding,
    shown: &Shown,
) -> Page {
    let shop = &branding.name;
    let mut blocks = vec![
        greeting(Some(&custom_order.customer_name)),
        Block::Text("Your piece is finished, and on its way to you.".to_owned()),
    ];
    blocks.extend(shipment_blocks(shipment, branding.zone, shown));
    blocks.extend(address(order));
    blocks.extend(request_details(custom_order));
    Page {
        subject: format!("Your Custom Order Has Shipped! - {shop}"),
        preview: format!("Order {} is on its way", order.number),
        heading: "Your piece is on its way".to_owned(),
        blocks,
        inside: false,
    }
}

fn review_item(item: &ReviewItemEmailData, branding: &Branding) -> Page {
    let mut details = Vec::new();
    details.extend(item.about.clone().map(|about| ("For", about)));
    details.extend(
        item.deadline
            .map(|at| ("Deadline", calendar::date(at, branding.zone))),
    );
    let mut blocks = vec![Block::Text(one_line(&item.text, 1000))];
    if !details.is_empty() {
        blocks.push(Block::Details(details));
    }
    blocks.push(Block::Text(item.advice.clone()));
    let page = format!("{}{}", branding.admin_url, item.page);
    blocks.extend(button("Open it in the admin".to_owned(), Some(&page)));
    Page {
        subject: format!("{PLEASE_REVIEW}{}", one_line(&item.headline, 100)),
        preview: one_line(&item.text, 100),
        heading: "Something needs you".to_owned(),
        blocks,
        inside: true,
    }
}

fn greeting(name: Option<&str>) -> Block {
    let name = one_line(name.unwrap_or_default(), 100);
    Block::Text(match name.as_str() {
        "" => "Hello,".to_owned(),
        name => format!("Hello {name},"),
    })
}

fn order_facts(order: &OrderEmailData, zone: Tz) -> Vec<(&'static str, String)> {
    let mut details = vec![("Order", order.number.clone())];
    details.extend(order.paid_at.map(|at| ("Paid", calendar::date(at, zone))));
    details
}

fn lines(order: &OrderEmailData, shown: &Shown) -> Vec<Line> {
    let line = |(at, line): (usize, &super::message::LineEmailData)| Line {
        image: shown.lines.get(at).cloned().flatten(),
        name: line.name.clone(),
        detail: line.detail.clone(),
        quantity: line.quantity,
        unit_price: line.unit_price.in_currency(&order.currency),
        // A sum that overflows was never paid.
        amount: line
            .unit_price
            .times(line.quantity)
            .unwrap_or(line.unit_price)
            .in_currency(&order.currency),
    };
    order.lines.iter().enumerate().map(line).collect()
}

fn sum(order: &OrderEmailData) -> Block {
    let money = |amount: Cents| amount.in_currency(&order.currency);
    let mut sums = vec![
        ("Subtotal", money(order.subtotal)),
        ("Shipping", money(order.shipping)),
    ];
    if order.tax != Cents::ZERO {
        sums.push(("Tax", money(order.tax)));
    }
    sums.push(("Total", money(order.total)));
    Block::Sum(sums)
}

fn address(order: &OrderEmailData) -> Option<Block> {
    let address = order.shipping_address.as_ref()?.lines();
    let name = one_line(order.shipping_name.as_deref().unwrap_or_default(), 200);
    let mut lines: Vec<String> = (!name.is_empty()).then_some(name).into_iter().collect();
    lines.extend(address);
    (!lines.is_empty()).then_some(Block::Address {
        title: "Ships to",
        lines,
    })
}

fn shipment_blocks(shipment: &ShipmentEmailData, zone: Tz, shown: &Shown) -> Vec<Block> {
    let mut details = vec![("Shipped", calendar::date(shipment.shipped_at, zone))];
    details.extend(shipment.carrier.clone().map(|carrier| ("Carrier", carrier)));
    details.extend(
        shipment
            .tracking_number
            .clone()
            .map(|number| ("Tracking number", number)),
    );
    let mut blocks = Vec::new();
    if !shown.images.is_empty() {
        blocks.push(Block::Images(shown.images.clone()));
    }
    blocks.push(Block::Details(details));
    blocks.extend(button(
        "Follow the shipment".to_owned(),
        shipment.tracking_url.as_deref(),
    ));
    blocks
}

fn request_details(custom_order: &CustomOrderEmailData) -> Vec<Block> {
    let mut blocks = vec![Block::Quote {
        title: "Your request",
        text: custom_order.description.clone(),
    }];
    blocks.extend(status_link(custom_order));
    blocks
}

fn status_link(custom_order: &CustomOrderEmailData) -> Option<Block> {
    page_at(custom_order.status_url.as_deref()).map(|url| Block::Link {
        label: "See where your request stands",
        url,
    })
}

fn button(label: String, url: Option<&str>) -> Option<Block> {
    page_at(url).map(|url| Block::Button { label, url })
}

/// Parses the address of a web page.
fn page_at(url: Option<&str>) -> Option<String> {
    let url = url::Url::parse(url?).ok()?;
    // No other schemes, because a click must not trigger anything else.
    matches!(url.scheme(), "https" | "http").then(|| url.into())
}
