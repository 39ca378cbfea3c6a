//! Orders: lines, prices, shipping and status. `payments` handles the money.

mod admin_routes;
mod browse;
mod carriers;
mod cart;
mod copied;
mod customer_data;
mod customers;
pub mod disputes;
mod email_data;
mod export;
mod figures;
mod labels;
mod lines;
mod placement;
mod restocks;
mod review_items;
mod sales;
mod service;
mod settlement;
mod shipments;
mod shipping;
mod status_page;
mod store;
mod view;

pub use admin_routes::router;
pub use browse::{OrderTab, browse, count_to_do};
pub use carriers::{CARRIERS, Carrier, recognize, usual_tracking_page};
pub use cart::Cart;
pub use customer_data::write_customer_note;
pub use customers::{
    CorrectedAddress, CorrectedCustomer, CustomerCorrection, correct_customer, in_words,
};
pub use email_data::{email_data, shipped_email_data};
pub use export::{export, usual_days};
pub use figures::{
    BestCategory, BestSeller, Conversion, Sales, best_categories, best_sellers, conversion,
    sales_by_day,
};
pub use labels::labels;
pub use placement::{
    CheckoutTerms, Lost, PlacedOrder, Placement, check, place, rebuild, rebuild_unknown, release,
};
pub use restocks::{NewRestock, check_reason, has_restock, restock, restock_pieces};
pub use sales::{Sale, last_payment_method, sell, undo_sale};
pub use service::{record, write_note};
pub use settlement::{
    CustomOrderPurchase, Settlement, adopt_payment, begin_processing, end_processing,
    full_refund_failed, pay, place_custom_order, record_dispute, record_refund,
};
pub use shipments::{
    CorrectedShipment, NewShipment, ShipmentCorrection, correct_shipment, deliver, is_shippable,
    may_unship, ship, shipment_cause, shipping_warnings, unship,
};
pub use shipping::{EstimatedDelivery, Zone};
pub use store::{
    FoundCustomer, OrderFilter, PlacedLine, add_timeline_entry, customer_note, erase_customer,
    find, find_id, find_shipment, held_lines, is_refunded_in_full, last_carrier, lines, list,
    list_by_email, lock, lock_of_customer, not_returned, search_customers,
};
pub use view::{OrderView, resolve, view};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::review_items::OpenItem;
use crate::types::address::Address;
use crate::types::ids::{ImageId, OrderId, ProductId};
use crate::types::money::Cents;
use disputes::DisputeState;

/// Origin of an order. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Channel {
    Storefront,
    /// A sale made elsewhere, entered by hand.
    Manual,
    /// A piece made to order.
    CustomOrder,
}

impl Channel {
    /// Name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Channel::Storefront => "storefront",
            Channel::Manual => "manual",
            Channel::CustomOrder => "custom_order",
        }
    }
}

/// Method by which a sale by hand was paid. Stripe knows the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum PaymentMethod {
    Cash,
    /// By a card reader of its own.
    Card,
    Other,
}

impl PaymentMethod {
    /// All methods, in the order of the buttons.
    pub const ALL: [PaymentMethod; 3] = [
        PaymentMethod::Cash,
        PaymentMethod::Card,
        PaymentMethod::Other,
    ];

    /// Name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            PaymentMethod::Cash => "cash",
            PaymentMethod::Card => "card",
            PaymentMethod::Other => "other",
        }
    }

    /// Name on pages and receipts.
    pub fn title(self) -> &'static str {
        match self {
            PaymentMethod::Cash => "Cash",
            PaymentMethod::Card => "Card",
            PaymentMethod::Other => "Other",
        }
    }
}

/// State of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// Its pieces are held; the shopper is paying.
    Pending,
    Paid,
    Shipped,
    Delivered,
    /// Fully refunded after payment.
    Refunded,
    /// The hold ran out unpaid.
    Expired,
    /// The shopper went back from the payment page, or checked out again.
    Cancelled,
    /// Stripe refused the session, or the payment failed.
    Failed,
}

impl Status {
    /// All statuses: an order's life first, then the ends of an unpaid one.
    pub const ALL: [Status; 8] = [
        Status::Pending,
        Status::Paid,
        Status::Shipped,
        Status::Delivered,
        Status::Refunded,
        Status::Expired,
        Status::Cancelled,
        Status::Failed,
    ];

    /// Legal transitions (P6). A released order becomes paid only when a late payment finds its pieces still in stock.
    /// A refunded order returns to its former status only when the bank reverses the refund. A shipped order becomes paid
    /// again only when it was marked as shipped by mistake.
    pub fn may_become(self, next: Status) -> bool {
        use Status::*;
        matches!(
            (self, next),
            (Pending, Paid | Expired | Cancelled | Failed)
                | (Expired | Cancelled | Failed, Paid)
                | (Paid, Shipped | Refunded)
                | (Shipped, Delivered | Refunded | Paid)
                | (Delivered, Refunded)
                | (Refunded, Paid | Shipped | Delivered)
        )
    }

    /// Name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Paid => "paid",
            Status::Shipped => "shipped",
            Status::Delivered => "delivered",
            Status::Refunded => "refunded",
            Status::Expired => "expired",
            Status::Cancelled => "cancelled",
            Status::Failed => "failed",
        }
    }

    /// The hold was released without a payment.
    pub fn is_released(self) -> bool {
        matches!(self, Status::Expired | Status::Cancelled | Status::Failed)
    }
}

/// An order, as stored and as shown to the owner. Amounts are in the currency's smallest unit.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Order {
    pub id: OrderId,
    /// `1042` in the database, `SB-1042` in JSON.
    #[serde(serialize_with = "serialize_number")]
    #[schema(value_type = String)]
    pub number: i64,
    pub status: Status,
    pub channel: Channel,
    pub is_custom_order: bool,
    pub currency: String,
    /// Sum of the lines.
    pub subtotal: Cents,
    /// Taken off the subtotal.
    pub discount: Cents,
    pub shipping: Cents,
    pub tax: Cents,
    pub total: Cents,
    pub refunded: Cents,
    /// Of a sale by hand, if noted.
    pub payment_method: Option<PaymentMethod>,
    pub email: Option<String>,
    pub customer_name: Option<String>,
    pub phone: Option<String>,
    pub shipping_name: Option<String>,
    pub shipping_address: Option<Value>,
    pub shipping_zone: Option<Zone>,
    /// The paid address is outside the zone that was charged.
    pub outside_zone: bool,
    /// All open review items, the most urgent first.
    #[sqlx(json)]
    pub review_items: Vec<OpenItem>,
    /// The most urgent state of its disputes, in Stripe's terms, if any.
    #[schema(value_type = Option<String>)]
    pub dispute: Option<DisputeState>,
    pub created_at: DateTime<Utc>,
    pub paid_at: Option<DateTime<Utc>>,
    /// Start of a pending delayed payment, such as a bank debit. It can take days to succeed or fail.
    pub processing_since: Option<DateTime<Utc>>,
    /// The time from which it is to be shipped after all, where a refund of all of its money failed: its pieces may be with
    /// somebody else by now.
    pub refund_failed_at: Option<DateTime<Utc>>,
    /// Deletion of the customer's data, on their request.
    pub erased_at: Option<DateTime<Utc>>,
    /// Columns of the customer's data that somebody corrected.
    #[serde(skip)]
    pub corrected: Vec<String>,
    /// Marked as paid by hand in the shop that this one replaced: the first payment that names it is its own.
    #[serde(skip)]
    pub payment_unrecorded: bool,
}

impl Order {
    /// Recorded by hand: paid elsewhere, so it is undone instead of refunded.
    pub fn is_manual(&self) -> bool {
        self.channel == Channel::Manual
    }

    /// Sold in person, and the pieces went along with the customer.
    pub fn was_handed_over(&self) -> bool {
        self.is_manual() && self.status == Status::Delivered
    }

    /// Its confirmation may be sent again. A sale by hand was never confirmed.
    pub fn can_confirm(&self) -> bool {
        use Status::{Delivered, Paid, Shipped};
        !self.is_manual() && matches!(self.status, Paid | Shipped | Delivered)
    }

    /// A delayed payment is in progress, and the pieces are held for it.
    pub fn is_processing(&self) -> bool {
        self.status == Status::Pending && self.processing_since.is_some()
    }

    /// The number as people write it: `SB-1042`.
    pub fn display_number(&self) -> String {
        format!("SB-{}", self.number)
    }

    /// Somebody corrected this column, so that Stripe's reports do not change it.
    pub fn is_corrected(&self, column: &str) -> bool {
        self.corrected.iter().any(|known| known == column)
    }

    /// Removes the customer's data and everything derived from it.
    pub fn withhold_customer(&mut self) {
        // Every field is named, so that a new one does not compile until somebody decides whether it is the customer's.
        let Order {
            id: _,
            number: _,
            status: _,
            channel: _,
            is_custom_order: _,
            currency: _,
            subtotal: _,
            discount: _,
            shipping: _,
            tax: _,
            total: _,
            refunded: _,
            payment_method: _,
            email,
            customer_name,
            phone,
            shipping_name,
            shipping_address,
            shipping_zone: _,
            outside_zone: _,
            review_items,
            dispute: _,
            created_at: _,
            paid_at: _,
            processing_since: _,
            refund_failed_at: _,
            erased_at: _,
            corrected: _,
            payment_unrecorded: _,
        } = self;
        *email = None;
        *customer_name = None;
        *phone = None;
        *shipping_name = None;
        *shipping_address = None;
        review_items.clear();
    }

    /// Lines of the address label; empty without an address.
    pub fn label(&self) -> Vec<String> {
        // A name without an address makes no label.
        let Some(address) = self.address() else {
            return Vec::new();
        };
        let name = self.shipping_name.iter().chain(&self.customer_name);
        name.take(1).cloned().chain(address.lines()).collect()
    }

    /// The shipping address; `None` for one that cannot be read, too.
    pub fn address(&self) -> Option<Address> {
        Address::deserialize(self.shipping_address.as_ref()?).ok()
    }
}

fn serialize_number<S: Serializer>(number: &i64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("SB-{number}"))
}

/// A line of an order: a snapshot that does not follow later changes of the product.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct Line {
    /// `None` for a custom order.
    pub product_id: Option<ProductId>,
    pub name: String,
    pub image: Option<String>,
    pub unit_price: Cents,
    pub quantity: i32,
}

/// An order in a list, with what was bought.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct ListedOrder {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub order: Order,
    /// The order waits to be packed.
    pub is_to_pack: bool,
    #[sqlx(skip)]
    pub lines: Vec<Line>,
}

/// An order line with its fulfillment and stock counts.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct OrderLine {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub sold: Line,
    /// Pieces still to ship: sold, not shipped and not back in stock. Zero unless the order is paid, and zero once a
    /// full refund is made or planned.
    pub to_ship: i32,
    /// Pieces returned to stock before shipping.
    pub restocked: i32,
    /// Pieces shipped, or handed over at the sale.
    pub shipped: i32,
    /// Pieces shipped and later returned to stock.
    pub returned: i32,
}

impl OrderLine {
    /// Pieces on the packing slip, before and after shipping.
    pub fn packed(&self) -> i32 {
        self.to_ship + self.shipped
    }

    /// Pieces returned to stock.
    pub fn back_in_stock(&self) -> i32 {
        self.restocked + self.returned
    }
}

/// A shipped package.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow, ToSchema)]
pub struct Shipment {
    pub carrier: String,
    pub tracking_number: Option<String>,
    pub tracking_url: Option<String>,
    pub shipped_at: DateTime<Utc>,
    #[serde(skip)]
    pub images: Vec<ImageId>,
}

/// An entry of an order's timeline.
#[derive(Clone, Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct TimelineEntry {
    /// `placed`, `status`, `payment`, `refund`, `restock`, `dispute`, `shipment`, `customer` or `note`.
    pub kind: String,
    pub from_status: Option<Status>,
    pub to_status: Option<Status>,
    /// `shopper`, `stripe`, `sweeper`, `mail`, `console`, `user:EMAIL` or `token:NAME`.
    pub actor: String,
    pub note: String,
    pub created_at: DateTime<Utc>,
}

/// Payment data for an order.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    pub total: Cents,
    pub tax: Cents,
    pub currency: String,
    pub email: Option<String>,
    pub customer_name: Option<String>,
    pub phone: Option<String>,
    pub shipping_name: Option<String>,
    pub shipping_address: Option<Value>,
    /// ISO 3166, two letters.
    pub shipping_country: Option<String>,
    /// Note for the timeline that identifies the payment.
    pub note: String,
    /// The zone and price of another shipping rate, when the shopper chose one.
    pub chosen_shipping: Option<(Zone, Cents)>,
    /// The part of the total that is for shipping, where nobody here knows what was asked for: a page of the shop that this
    /// one replaced was paid. Such a payment is right whatever its amount.
    pub decided_shipping: Option<Cents>,
}

/// Pieces of a product that go back into stock.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, sqlx::FromRow, ToSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Restocked {
    pub product_id: ProductId,
    #[schema(minimum = 1, maximum = 999)]
    pub quantity: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_moves_along_the_drawn_arrows_only() {
        let legal: Vec<String> = Status::ALL
            .iter()
            .flat_map(|from| Status::ALL.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.may_become(**to))
            .map(|(from, to)| format!("{}→{}", from.as_str(), to.as_str()))
            .collect();
        assert_eq!(
            legal.join(" "),
            "pending→paid pending→expired pending→cancelled pending→failed paid→shipped paid→refunded \
             shipped→paid shipped→delivered shipped→refunded delivered→refunded refunded→paid refunded→shipped refunded→delivered \
             expired→paid cancelled→paid failed→paid"
        );
    }
}
