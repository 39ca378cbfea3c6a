//! What ties the old shop's rows together: statuses, requests and their orders, sessions and payments.

use std::collections::HashMap;

use uuid::Uuid;

use crate::django::old::{OldOrder, OldRequest, OldShop};
use crate::django::target::is_settled;
use crate::orders::{Channel, Status};

/// Status of an order by the old shop's word, before anybody knows whether a pending one is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadStatus {
    pub status: Status,
    /// The word is none that the import knows.
    pub is_unclear: bool,
}

impl ReadStatus {
    fn of(order: &OldOrder) -> ReadStatus {
        let clear = |status| ReadStatus {
            status,
            is_unclear: false,
        };
        match order.status.trim().to_lowercase().as_str() {
            "pending" => clear(Status::Pending),
            "paid" => clear(Status::Paid),
            "shipped" => clear(Status::Shipped),
            "delivered" | "completed" => clear(Status::Delivered),
            "refunded" => clear(Status::Refunded),
            "cancelled" | "canceled" => clear(Status::Cancelled),
            "expired" => clear(Status::Expired),
            "failed" => clear(Status::Failed),
            _ => ReadStatus {
                status: match (order.shipped_at, &order.payment) {
                    (Some(_), _) => Status::Shipped,
                    (None, Some(_)) => Status::Paid,
                    (None, None) => Status::Failed,
                },
                is_unclear: true,
            },
        }
    }
}

/// Rows by what names them.
pub(super) struct Links<'a> {
    statuses: HashMap<Uuid, ReadStatus>,
    requests: HashMap<Uuid, &'a OldRequest>,
    payments: HashMap<&'a str, Uuid>,
    sessions: HashMap<&'a str, Uuid>,
}

impl<'a> Links<'a> {
    pub fn of(shop: &'a OldShop) -> Links<'a> {
        let mut statuses: HashMap<Uuid, ReadStatus> = shop
            .orders
            .iter()
            .map(|order| (order.id, ReadStatus::of(order)))
            .collect();
        let mut requests = HashMap::new();
        for request in &shop.requests {
            let order = request.order.filter(|order| {
                statuses
                    .get(order)
                    .is_some_and(|read| is_settled(read.status))
            });
            // Copies without constraints may link an order twice: it belongs to the older request.
            if let Some(order) = order {
                requests.entry(order).or_insert(request);
            }
        }
        for (order, request) in &requests {
            let is_completed = request.status.trim().eq_ignore_ascii_case("completed");
            if let Some(read) = statuses.get_mut(order)
                && is_completed
                && read.status == Status::Shipped
            {
                read.status = Status::Delivered;
            }
        }
        let mut links = Links {
            statuses,
            requests,
            payments: HashMap::new(),
            sessions: HashMap::new(),
        };
        links.add_owners(shop);
        links
    }

    /// Of two orders with one payment or one session, the settled, earlier one has it.
    fn add_owners(&mut self, shop: &'a OldShop) {
        let (settled, others): (Vec<&OldOrder>, Vec<&OldOrder>) = shop
            .orders
            .iter()
            .partition(|order| is_settled(self.status(order).status));
        for order in &settled {
            if let Some(payment) = &order.payment {
                self.payments.entry(payment).or_insert(order.id);
            }
        }
        for order in settled.into_iter().chain(others) {
            let Some(session) = order.session.as_deref() else {
                continue;
            };
            if self.channel(order) == Channel::Storefront {
                self.sessions.entry(session).or_insert(order.id);
            }
        }
    }

    pub fn status(&self, order: &OldOrder) -> ReadStatus {
        self.statuses[&order.id]
    }

    pub fn channel(&self, order: &OldOrder) -> Channel {
        let is_of_stripe = order
            .session
            .as_deref()
            .is_some_and(|session| session.starts_with("cs_"));
        let is_settled = is_settled(self.status(order).status);
        match order.is_custom_order {
            true => Channel::CustomOrder,
            false if is_settled && order.payment.is_none() && !is_of_stripe => Channel::Manual,
            false => Channel::Storefront,
        }
    }

    /// The request that an order was made for.
    pub fn request(&self, order: Uuid) -> Option<&'a OldRequest> {
        self.requests.get(&order).copied()
    }

    /// The settled order of a request.
    pub fn order_of(&self, request: &OldRequest) -> Option<Uuid> {
        let order = request.order?;
        let owner = self.requests.get(&order)?;
        (owner.id == request.id).then_some(order)
    }

    pub fn has_payment(&self, order: &OldOrder) -> bool {
        let payment = order.payment.as_deref();
        payment.is_some_and(|payment| self.payments.get(payment) == Some(&order.id))
    }

    pub fn has_session(&self, order: &OldOrder) -> bool {
        let session = order.session.as_deref();
        session.is_some_and(|session| self.sessions.get(session) == Some(&order.id))
    }
}
