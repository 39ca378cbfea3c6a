//! Timelines: the way of an order and of a custom order along the legal transitions, at the old shop's times.

use chrono::{DateTime, Utc};

use crate::custom_orders;
use crate::django::target::Move;
use crate::orders::Status;

/// Times of an order in the old shop. When it was paid, nobody wrote down.
pub(super) struct Times {
    pub created: DateTime<Utc>,
    /// When its page could no longer be paid.
    pub ended: DateTime<Utc>,
    pub shipped: DateTime<Utc>,
    pub delivered: DateTime<Utc>,
}

/// The entries of an order's timeline.
pub(super) fn of_order(status: Status, was_shipped: bool, times: &Times) -> Vec<Move> {
    use Status::{Cancelled, Delivered, Expired, Failed, Paid, Pending, Refunded, Shipped};
    let (paid, shipped) = ((Paid, times.created), (Shipped, times.shipped));
    let steps = match status {
        Pending => vec![],
        Paid => vec![paid],
        Shipped => vec![paid, shipped],
        Delivered => vec![paid, shipped, (Delivered, times.delivered)],
        Refunded if was_shipped => vec![paid, shipped, (Refunded, times.shipped)],
        Refunded => vec![paid, (Refunded, times.created)],
        Expired | Cancelled => vec![(status, times.ended)],
        Failed => vec![(Failed, times.created)],
    };
    let steps = steps.into_iter().map(|(to, at)| (to.as_str(), at));
    chain(Pending.as_str(), times.created, steps)
}

/// The entries of a custom order's timeline.
pub(super) fn of_custom_order(
    status: custom_orders::Status,
    created: DateTime<Utc>,
    paid: DateTime<Utc>,
    updated: DateTime<Utc>,
) -> Vec<Move> {
    use custom_orders::Status::{
        Approved, Completed, Expired, InProduction, Paid, Pending, Refunded, Rejected, Shipped,
    };
    let way = [
        (Approved, paid),
        (Paid, paid),
        (InProduction, updated),
        (Shipped, updated),
        (Completed, updated),
    ];
    let steps = match status {
        Pending => vec![],
        Rejected => vec![(Rejected, updated)],
        Expired => vec![(Approved, updated), (Expired, updated)],
        Refunded => vec![way[0], way[1], (Refunded, updated)],
        Approved => vec![(Approved, updated)],
        reached => {
            let place = way.iter().position(|(step, _)| *step == reached);
            way[..=place.unwrap_or(0)].to_vec()
        }
    };
    let steps = steps.into_iter().map(|(to, at)| (to.as_str(), at));
    chain(Pending.as_str(), created, steps)
}

/// Links steps, none before the one that it follows.
fn chain(
    first: &'static str,
    created: DateTime<Utc>,
    steps: impl Iterator<Item = (&'static str, DateTime<Utc>)>,
) -> Vec<Move> {
    let mut moves = vec![Move {
        from: None,
        to: first,
        at: created,
        note: String::new(),
    }];
    let (mut from, mut last) = (first, created);
    for (to, at) in steps {
        last = last.max(at);
        moves.push(Move {
            from: Some(from),
            to,
            at: last,
            note: String::new(),
        });
        from = to;
    }
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_goes_along_legal_transitions() {
        let now = Utc::now();
        let times = Times {
            created: now,
            ended: now,
            shipped: now,
            delivered: now,
        };
        let parse = |name: &str| {
            let mut all = Status::ALL.into_iter();
            all.find(|status| status.as_str() == name)
                .expect("a status")
        };
        for status in Status::ALL {
            for was_shipped in [true, false] {
                let moves = of_order(status, was_shipped, &times);
                assert_eq!(moves.last().map(|last| last.to), Some(status.as_str()));
                for step in &moves[1..] {
                    let from = parse(step.from.expect("a former status"));
                    assert!(from.may_become(parse(step.to)), "{step:?}");
                }
            }
        }
    }

    #[test]
    fn every_custom_order_goes_along_legal_transitions() {
        let now = Utc::now();
        let parse = |name: &str| {
            let mut all = custom_orders::Status::ALL.into_iter();
            all.find(|status| status.as_str() == name)
                .expect("a status")
        };
        for status in custom_orders::Status::ALL {
            let moves = of_custom_order(status, now, now, now);
            assert_eq!(moves.last().map(|last| last.to), Some(status.as_str()));
            for step in &moves[1..] {
                let from = parse(step.from.expect("a former status"));
                assert!(from.may_become(parse(step.to)), "{step:?}");
            }
        }
    }
}
