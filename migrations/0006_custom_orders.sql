-- Custom orders: pieces made on request, from the request over the quote to delivery.

create sequence custom_order_number start 1001;

create table custom_orders (
    id          uuid primary key,
    number      bigint not null default nextval('custom_order_number'),
    status      text not null default 'pending',
    name        text not null,
    email       text not null,
    description text not null,
    colors      text,
    -- The order that its payment made.
    order_id    uuid references orders (id),
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),

    constraint custom_orders_number_key unique (number),
    constraint custom_orders_order_key unique (order_id),
    constraint custom_orders_status_known check (status in
        ('pending', 'approved', 'rejected', 'expired', 'paid', 'in_production', 'shipped', 'completed', 'refunded')),
    constraint custom_orders_paid_has_order check
        ((order_id is not null) = (status in ('paid', 'in_production', 'shipped', 'completed', 'refunded')))
);
create index custom_orders_by_created_at on custom_orders (created_at desc, id desc);
create index custom_orders_by_status on custom_orders (status, created_at desc, id desc);
create index custom_orders_by_email on custom_orders (lower(email));

create table custom_order_images (
    custom_order_id uuid not null references custom_orders (id) on delete cascade,
    position        integer not null,
    image_id        text collate "C" not null references images (id),
    primary key (custom_order_id, position)
);
create index custom_order_images_by_image on custom_order_images (image_id);

-- A price for a custom order, and the payment link made for it.
create table custom_order_quotes (
    id                  uuid primary key,
    custom_order_id     uuid not null references custom_orders (id) on delete cascade,
    state               text not null default 'draft',
    currency            text not null default 'usd',
    amount              bigint not null,
    shipping            bigint not null,
    shipping_zone       text not null,
    description         text not null,
    valid_days          integer not null,
    valid_until         timestamptz,
    -- The whole call to Stripe, kept so that a retry is the same call.
    stripe_request      jsonb,
    -- When the call was stored under its present idempotency key. Null for a draft.
    asked_at            timestamptz,
    attempts            integer not null default 0,
    link_id             text,
    link_url            text,
    -- A delayed payment is on its way: meanwhile the quote neither expires nor is replaced.
    payment_in_progress boolean not null default false,
    -- What happens to the custom order once the link is closed.
    pending_action      jsonb,
    last_error          text,
    actor               text not null,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),

    constraint custom_order_quotes_link_key unique (link_id),
    constraint custom_order_quotes_state_known check (state in
        ('draft', 'asking', 'refused', 'live', 'closing', 'closed', 'paid')),
    constraint custom_order_quotes_zone_known check (shipping_zone in ('us', 'north_america', 'international')),
    constraint custom_order_quotes_amount_positive check
        (amount >= 50 and shipping >= 0 and amount + shipping <= 99999999),
    constraint custom_order_quotes_valid_days_positive check (valid_days between 1 and 365),
    constraint custom_order_quotes_asked_has_stripe_request check ((state = 'draft') = (stripe_request is null)),
    -- Not required of a paid quote: the payment may be reported before the answer to the call that made its link.
    constraint custom_order_quotes_live_has_link check
        (state not in ('live', 'closing') or (link_id is not null and valid_until is not null))
);
create index custom_order_quotes_by_custom_order on custom_order_quotes (custom_order_id, created_at);
-- P2: at most one link of a custom order can be paid, and at most one was.
create unique index custom_order_quotes_one_open on custom_order_quotes (custom_order_id)
    where state in ('asking', 'live', 'closing', 'paid');
create unique index custom_order_quotes_one_draft on custom_order_quotes (custom_order_id) where state = 'draft';
create index custom_order_quotes_unsettled on custom_order_quotes (state, updated_at)
    where state in ('asking', 'live', 'closing');

-- The timeline of a custom order: each change of status, and notes for the people who run the shop.
create table custom_order_events (
    id              bigint primary key generated always as identity,
    custom_order_id uuid not null references custom_orders (id) on delete cascade,
    kind            text not null,
    from_status     text,
    to_status       text,
    actor           text not null,
    note            text not null default '',
    created_at      timestamptz not null default now()
);
create index custom_order_events_by_custom_order on custom_order_events (custom_order_id, id);
