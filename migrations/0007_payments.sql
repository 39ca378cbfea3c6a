-- Payments: checkouts at Stripe, its events, payments, refunds and disputes.

-- The intent to take money for an order.
create table checkouts (
    order_id      uuid primary key references orders (id) on delete cascade,
    state         text not null,
    -- The whole call to Stripe, kept so that a retry is the same call.
    request       jsonb not null,
    return_origin text not null,
    -- A keyed hash of the client's address, while the hold counts against its limit. Null: not counted.
    client        bytea,
    session_id    text,
    session_url   text,
    expires_at    timestamptz not null,
    hold_until    timestamptz not null,
    -- The order that took the place of this one: a second tab, whose cookie names the older order, finds the new hold.
    replaced_by   uuid,
    last_error    text,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),

    constraint checkouts_session_key unique (session_id),
    constraint checkouts_state_known check (state in
        ('asking', 'open', 'unknown', 'refused', 'processing', 'complete', 'expired'))
);
create index checkouts_unsettled on checkouts (state, hold_until)
    where state in ('asking', 'open', 'unknown', 'processing');
-- The unpaid holds of a client, delayed payments included.
create index checkouts_unpaid_by_client on checkouts (client)
    where client is not null and state in ('asking', 'open', 'unknown', 'processing');
-- Checkouts whose client is to be forgotten.
create index checkouts_with_client on checkouts (updated_at) where client is not null;

-- The inbox: an event is stored under its id before it is processed.
create table stripe_events (
    id           text primary key,
    type         text not null,
    status       text not null,
    created      timestamptz,
    source       text not null,
    -- Text, as Stripe sent it: jsonb refuses some strings that JSON allows, and a verified event is never refused.
    payload      text not null,
    attempts     integer not null default 0,
    last_error   text,
    received_at  timestamptz not null default now(),
    processed_at timestamptz,
    -- When personal data was removed from the payload.
    redacted_at  timestamptz,

    -- `wrong_mode`: an event of Stripe's other mode (test or live) than the key's is kept and changes nothing.
    constraint stripe_events_status_known check (status in ('received', 'processed', 'ignored', 'failed', 'wrong_mode')),
    constraint stripe_events_source_known check (source in ('webhook', 'reconcile'))
);
create index stripe_events_by_received_at on stripe_events (received_at desc, id);
create index stripe_events_failed on stripe_events (received_at) where status in ('received', 'failed');
-- For the metrics: few among many events.
create index stripe_events_wrong_mode on stripe_events (received_at) where status = 'wrong_mode';
-- Finished events that may still hold personal data.
create index stripe_events_to_redact on stripe_events (received_at)
    where redacted_at is null and status in ('processed', 'ignored');
-- Finds any part of an event's id or type.
create index stripe_events_search_text on stripe_events using gin (lower(id || ' ' || type) gin_trgm_ops);

-- The point up to which reconciliation has read Stripe's events.
create table stripe_cursor (
    singleton  boolean primary key default true,
    read_until timestamptz not null,

    constraint stripe_cursor_singleton check (singleton)
);

-- Payments as Stripe reports them, one row per payment intent (per session where there was nothing to pay). A refund or a
-- dispute may be reported before its payment, so the order and the outcome may come later than the row.
create table payments (
    id              text primary key,
    order_id        uuid references orders (id),
    -- A payment for a custom order may lead to no order: on a closed link, or a second time. Then it is refunded.
    custom_order_id uuid references custom_orders (id),
    session_id      text,
    outcome         text,
    amount          bigint not null default 0,
    currency        text not null default 'usd',
    refunded        bigint not null default 0,
    refunded_as_of  timestamptz,
    -- The most pressing state of its disputes.
    dispute         text,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),

    constraint payments_outcome_known check (outcome in ('settled', 'refused')),
    constraint payments_outcome_has_cause check
        (outcome is null or order_id is not null or custom_order_id is not null),
    constraint payments_settled_has_order check (outcome is distinct from 'settled' or order_id is not null)
);
-- P2: an order is settled by one payment.
create unique index payments_one_settles on payments (order_id) where outcome = 'settled';
create index payments_by_order on payments (order_id);
create index payments_by_custom_order on payments (custom_order_id) where custom_order_id is not null;
-- For the metrics: few among many payments.
create index payments_refused on payments (created_at) where outcome = 'refused';

-- The intent to refund money, and its outcome.
create table refunds (
    id               uuid primary key,
    payment_id       text not null references payments (id),
    -- The amount decided on.
    wanted_amount    bigint not null,
    -- The amount requested from Stripe: less than the one decided on if part was refunded elsewhere meanwhile.
    amount           bigint not null,
    reason           text not null,
    -- Who decided on it.
    actor            text not null,
    -- The units that went back into stock with it: if the refund fails, a person has to know.
    restocked        integer not null default 0,
    -- The request as {"amount": 2000, "restock": [{"product_id": "sunrise", "quantity": 1}]}; no amount asks for all that
    -- is left. A repeated id with another request is refused. Null: nobody requested it by an id.
    asked            jsonb,
    -- The failed refund that this one replaces.
    retry_of         uuid references refunds (id),
    state            text not null,
    stripe_refund_id text,
    attempts         integer not null default 0,
    -- An attempt is under way, or its process died. Counted from `updated_at`.
    is_trying        boolean not null default false,
    -- The wait before the next attempt, counted from `updated_at`.
    retry_wait       interval not null default '0',
    -- Part of the idempotency key. Rises with each request that differs from the last, or that Stripe surely did not
    -- carry out.
    key_number       integer not null default 0,
    -- When a person was told that it does not go through.
    flagged_at       timestamptz,
    last_error       text,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),

    constraint refunds_stripe_refund_key unique (stripe_refund_id),
    constraint refunds_amount_positive check (amount > 0),
    constraint refunds_state_known check (state in ('planned', 'pending', 'succeeded', 'failed'))
);
create index refunds_by_payment on refunds (payment_id);
-- For the metrics: few among many refunds.
create index refunds_unsettled on refunds (state, created_at) where state in ('planned', 'pending', 'failed');
-- A failed refund is retried once, however many people ask for it.
create unique index refunds_retried_once on refunds (retry_of) where retry_of is not null;

-- Refunds as Stripe reports them, ours and those made in its dashboard. By Stripe's id, because reports come in any order,
-- and a failed refund has to be told from a newer one.
create table stripe_refunds (
    id         text primary key,
    payment_id text not null references payments (id),
    -- Our refund that it carries out.
    refund_id  uuid references refunds (id),
    amount     bigint not null,
    state      text not null,
    -- Stripe's word, if somebody chose one in the dashboard.
    reason     text,
    created_at timestamptz not null default now(),
    failed_at  timestamptz,
    -- When the timeline and the customer were told of it.
    told_at    timestamptz,
    -- When a person was told that it failed.
    flagged_at timestamptz,

    constraint stripe_refunds_amount_not_negative check (amount >= 0),
    constraint stripe_refunds_state_known check (state in ('pending', 'succeeded', 'failed')),
    constraint stripe_refunds_failed_has_time check ((state = 'failed') = (failed_at is not null))
);
create index stripe_refunds_by_payment on stripe_refunds (payment_id);

-- Disputes by Stripe's id: a payment may have several, and an inquiry may become a dispute.
create table disputes (
    id              text collate "C" primary key,
    payment_id      text not null references payments (id),
    amount          bigint not null,
    currency        text not null,
    reason          text not null,
    -- Stripe's word.
    state           text not null,
    evidence_due_by timestamptz,
    -- Whether the bank has taken the money or returned it.
    funds           text,
    -- The time of the event that reported all this, and of the one that reported the funds.
    as_of           timestamptz not null,
    funds_as_of     timestamptz,
    opened_at       timestamptz not null,
    updated_at      timestamptz not null default now(),

    constraint disputes_amount_not_negative check (amount >= 0),
    constraint disputes_state_said check (state <> ''),
    constraint disputes_funds_known check (funds in ('withdrawn', 'reinstated'))
);
create index disputes_by_payment on disputes (payment_id);
