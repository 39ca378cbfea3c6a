-- Custom orders: pieces made to order, from request to shipment; and the shipments of all orders.

create sequence custom_order_number start 1001;

create table custom_orders (
    id          uuid primary key,
    number      bigint not null default nextval('custom_order_number'),
    status      text not null default 'pending',
    name        text not null,
    email       text not null,
    description text not null,
    colors      text,
    attention   text,
    order_id    uuid references orders (id),
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    constraint custom_orders_number_key unique (number),
    constraint custom_orders_order_key unique (order_id),
    constraint custom_orders_status_known check (status in
        ('pending', 'approved', 'rejected', 'expired', 'paid', 'in_production', 'shipped', 'completed')),
    constraint custom_orders_paid_has_order check
        ((order_id is not null) = (status in ('paid', 'in_production', 'shipped', 'completed')))
);
create index custom_orders_by_created_at on custom_orders (created_at desc, id desc);
create index custom_orders_by_status on custom_orders (status, created_at desc, id desc);
create index custom_orders_by_email on custom_orders (lower(email));

create table custom_order_images (
    custom_order_id uuid not null references custom_orders (id) on delete cascade,
    position   integer not null,
    image_id text collate "C" not null references images (id),
    primary key (custom_order_id, position)
);
create index custom_order_images_by_image on custom_order_images (image_id);

-- A price named for a request, and the payment link made of it. `stripe_request` is the whole call to Stripe, kept so that
-- asking again is the same call; `pending_action` is what happens to the request once the link is closed.
create table custom_order_quotes (
    id            uuid primary key,
    custom_order_id    uuid not null references custom_orders (id) on delete cascade,
    state         text not null default 'draft',
    currency      text not null default 'usd',
    amount        bigint not null,
    shipping      bigint not null,
    shipping_zone text not null,
    description        text not null,
    valid_days    integer not null,
    valid_until   timestamptz,
    stripe_request         jsonb,
    attempts         integer not null default 0,
    link_id       text,
    link_url      text,
    -- A delayed payment is on its way: the quote neither lapses nor is replaced meanwhile.
    payment_in_progress        boolean not null default false,
    pending_action     jsonb,
    last_error    text,
    actor         text not null,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    constraint custom_order_quotes_link_key unique (link_id),
    constraint custom_order_quotes_state_known check (state in
        ('draft', 'asking', 'refused', 'live', 'closing', 'closed', 'paid')),
    constraint custom_order_quotes_zone_known check (shipping_zone in ('us', 'north_america', 'international')),
    constraint custom_order_quotes_amount_positive check (amount >= 50 and shipping >= 0 and amount + shipping <= 99999999),
    constraint custom_order_quotes_valid_days_positive check (valid_days between 1 and 365),
    constraint custom_order_quotes_asked_has_stripe_request check ((state in ('draft')) = (stripe_request is null)),
    -- One that is paid before the answer that made its link has reached us has neither.
    constraint custom_order_quotes_live_has_link check
        (state not in ('live', 'closing') or (link_id is not null and valid_until is not null))
);
create index custom_order_quotes_by_custom_order on custom_order_quotes (custom_order_id, created_at);
-- P2: at most one link of a request can be paid, and at most one was.
create unique index custom_order_quotes_one_open on custom_order_quotes (custom_order_id)
    where state in ('asking', 'live', 'closing', 'paid');
create unique index custom_order_quotes_one_draft on custom_order_quotes (custom_order_id) where state = 'draft';
create index custom_order_quotes_unsettled on custom_order_quotes (state, updated_at)
    where state in ('asking', 'live', 'closing');

-- The timeline of a request: each move, and whatever else the owner should know of it.
create table custom_order_events (
    id          bigint primary key generated always as identity,
    custom_order_id  uuid not null references custom_orders (id) on delete cascade,
    kind        text not null,
    from_status text,
    to_status   text,
    actor       text not null,
    note        text not null default '',
    created_at  timestamptz not null default now()
);
create index custom_order_events_by_custom_order on custom_order_events (custom_order_id, id);

alter table emails
    add constraint emails_custom_order_fkey foreign key (custom_order_id) references custom_orders (id) on delete set null;

-- A custom order's order has a line for what was made, which is no product.
alter table order_lines alter column product_id drop not null;
alter table orders
    drop constraint orders_channel_known,
    add constraint orders_channel_known check (channel in ('storefront', 'manual', 'custom_order')),
    add constraint orders_custom_is_custom_order check (is_custom_order = (channel = 'custom_order'));

-- A payment for a request may come to no order: on a closed link, or a second time. Then it is given back.
alter table payments
    add column custom_order_id uuid references custom_orders (id),
    drop constraint payments_outcome_has_order,
    add constraint payments_outcome_has_cause check (outcome is null or order_id is not null or custom_order_id is not null),
    add constraint payments_settled_has_order check (outcome is distinct from 'settled' or order_id is not null);
create index payments_by_custom_order on payments (custom_order_id) where custom_order_id is not null;

-- The shipment of an order.
create table shipments (
    order_id        uuid primary key references orders (id) on delete cascade,
    carrier         text not null,
    tracking_number text,
    tracking_url    text,
    shipped_at      timestamptz not null default now()
);
create index shipments_by_tracking_number on shipments (tracking_number) where tracking_number is not null;

create table shipment_images (
    order_id   uuid not null references shipments (order_id) on delete cascade,
    position   integer not null,
    image_id text collate "C" not null references images (id),
    primary key (order_id, position)
);
create index shipment_images_by_image on shipment_images (image_id);
