-- Disputes by Stripe's id: a payment may have several, and an inquiry may become a dispute. `orders.dispute` and
-- `payments.dispute` stay, as the most pressing state of all.

create table disputes (
    -- Stripe's `dp_…`; `earlier:PAYMENT` for a state that an earlier version kept without an id.
    id              text collate "C" primary key,
    payment_id      text not null references payments (id),
    amount          bigint not null,
    currency        text not null,
    reason          text not null,
    -- Stripe's word.
    state           text not null,
    evidence_due_by timestamptz,
    -- The bank has the money, or gave it back.
    funds           text,
    -- The time of the event that told all this, and of the one that told of the funds.
    as_of           timestamptz not null,
    funds_as_of     timestamptz,
    opened_at       timestamptz not null,
    updated_at      timestamptz not null default now(),
    constraint disputes_amount_not_negative check (amount >= 0),
    constraint disputes_state_said check (state <> ''),
    constraint disputes_funds_known check (funds in ('withdrawn', 'reinstated'))
);
create index disputes_by_payment on disputes (payment_id);

-- What the previous version has kept. (An event that it takes while both serve is kept raw as all are; its dispute comes
-- here with the next event of Stripe's, which a dispute always has: it is closed at last.)
insert into disputes (id, payment_id, amount, currency, reason, state, as_of, opened_at)
select 'earlier:' || id, id, amount, currency, 'general', dispute, updated_at, updated_at
from payments
where dispute <> '';
