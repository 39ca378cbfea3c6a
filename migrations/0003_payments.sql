-- Money coming in: checkouts at Stripe, its events, payments and refunds.

-- The intent to take money for an order. `request` is the whole call, kept so that asking again is the same call.
create table checkouts (
    order_id        uuid primary key references orders (id) on delete cascade,
    state           text not null,
    request         jsonb not null,
    return_origin   text not null,
    session_id      text,
    session_url     text,
    expires_at      timestamptz not null,
    hold_until      timestamptz not null,
    last_error      text,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    constraint checkouts_session_key unique (session_id),
    constraint checkouts_state_known check (state in
        ('asking', 'open', 'unknown', 'refused', 'processing', 'complete', 'expired'))
);
create index checkouts_unsettled on checkouts (state, hold_until)
    where state in ('asking', 'open', 'unknown', 'processing');

-- The inbox: an event is stored under its id before it is processed. The payload is text, as Stripe sent it:
-- jsonb refuses some strings that JSON allows, and a verified event is never refused.
create table stripe_events (
    id           text primary key,
    type         text not null,
    status       text not null,
    created      timestamptz,
    source       text not null,
    payload      text not null,
    attempts     integer not null default 0,
    last_error   text,
    received_at  timestamptz not null default now(),
    processed_at timestamptz,
    constraint stripe_events_status_known check (status in ('received', 'processed', 'ignored', 'failed')),
    constraint stripe_events_source_known check (source in ('webhook', 'reconcile'))
);
create index stripe_events_failed on stripe_events (received_at) where status in ('received', 'failed');

-- How far reconciliation has read Stripe's events.
create table stripe_cursor (
    singleton   boolean primary key default true check (singleton),
    read_until timestamptz not null
);

-- What Stripe says was paid, one row per payment intent (the session's id where there was nothing to pay).
-- A refund or a dispute may be reported before the payment it belongs to, so order and outcome may come later.
create table payments (
    id                 text primary key,
    order_id           uuid references orders (id),
    session_id         text,
    outcome            text,
    amount             bigint not null default 0,
    currency           text not null default 'usd',
    refunded           bigint not null default 0,
    refunded_as_of     timestamptz,
    dispute            text,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now(),
    constraint payments_outcome_known check (outcome in ('settled', 'refused')),
    constraint payments_outcome_has_order check ((outcome is null) or (order_id is not null))
);
-- P2: an order is settled by one payment.
create unique index payments_one_settles on payments (order_id) where outcome = 'settled';
create index payments_by_order on payments (order_id);

-- The intent to give money back, and what became of it.
create table refunds (
    id               uuid primary key,
    payment_id       text not null references payments (id),
    amount           bigint not null,
    reason           text not null,
    state            text not null,
    stripe_refund_id text,
    last_error       text,
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    constraint refunds_stripe_refund_key unique (stripe_refund_id),
    constraint refunds_amount_positive check (amount > 0),
    constraint refunds_state_known check (state in ('planned', 'pending', 'succeeded', 'failed'))
);
create index refunds_by_payment on refunds (payment_id);

-- Failed refunds as Stripe reports them, ours or the dashboard's: their amounts are with us again.
create table refund_failures (
    stripe_refund_id text primary key,
    payment_id       text not null,
    amount           bigint not null,
    failed_at        timestamptz not null
);
create index refund_failures_by_payment on refund_failures (payment_id);
