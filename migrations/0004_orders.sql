-- Orders: what was bought, for how much, and its shipment.

create sequence order_number start 1001;

create table orders (
    id               uuid primary key,
    number           bigint not null default nextval('order_number'),
    status           text not null,
    channel          text not null,
    is_custom_order  boolean not null default false,
    currency         text not null,
    subtotal         bigint not null,
    shipping         bigint not null,
    tax              bigint not null default 0,
    total            bigint not null,
    refunded         bigint not null default 0,
    email            text,
    customer_name    text,
    phone            text,
    shipping_name    text,
    shipping_address jsonb,
    shipping_zone    text,
    outside_zone     boolean not null default false,
    -- The most pressing state of its disputes.
    dispute          text,
    created_at       timestamptz not null default now(),
    -- Set while a delayed payment is on its way: such an order has a customer before it has money.
    processing_since timestamptz,
    paid_at          timestamptz,
    -- Set while an order is to be shipped after all because its full refund failed. Its pieces may be with somebody else
    -- by now, so shipping it asks for confirmation.
    refund_failed_at timestamptz,
    updated_at       timestamptz not null default now(),

    constraint orders_number_key unique (number),
    constraint orders_status_known check (status in
        ('pending', 'paid', 'shipped', 'delivered', 'refunded', 'expired', 'cancelled', 'failed')),
    constraint orders_channel_known check (channel in ('storefront', 'manual', 'custom_order')),
    constraint orders_custom_is_custom_order check (is_custom_order = (channel = 'custom_order')),
    constraint orders_zone_known check (shipping_zone in ('us', 'north_america', 'international')),
    constraint orders_amounts_whole check
        (subtotal >= 0 and shipping >= 0 and tax >= 0 and total = subtotal + shipping + tax),
    constraint orders_refund_within_total check (refunded >= 0 and refunded <= total),
    constraint orders_paid_has_time check
        ((paid_at is not null) = (status in ('paid', 'shipped', 'delivered', 'refunded')))
);
create index orders_by_created_at on orders (created_at desc, id desc);
create index orders_by_status on orders (status, created_at desc, id desc);
create index orders_by_email on orders (lower(email)) where email is not null;
-- For the dashboard.
create index orders_by_paid_at on orders (paid_at) where paid_at is not null;
-- Finds any part of a name or an email address, with or without accents.
create index orders_search_fold on orders using gin (
    search_fold(' ' || coalesce(email, '') || ' ' || coalesce(customer_name, '') || ' ' || coalesce(shipping_name, ''))
    gin_trgm_ops);

-- A line keeps the name, image and price of the moment it was placed. They do not follow the product.
create table order_lines (
    order_id   uuid not null references orders (id) on delete cascade,
    position   integer not null,
    -- Null for a custom order: its piece is no product.
    product_id text collate "C" references products (id),
    name       text not null,
    image      text,
    -- The foreign key keeps the image after the product has changed its own.
    image_id   text collate "C"
        generated always as (substring(image from '^/media/images/([0-9a-f]{64})/')) stored
        references images (id),
    unit_price bigint not null,
    quantity   integer not null,
    -- The units still to ship are quantity - restocked - shipped. Triggers on the stock ledger and on shipments count
    -- these three, whichever statement writes there.
    -- Back in stock without having been shipped.
    restocked  integer not null default 0,
    -- Shipped, or handed over at the sale.
    shipped    integer not null default 0,
    -- Shipped, and back in stock since.
    returned   integer not null default 0,
    primary key (order_id, position),

    constraint order_lines_product_once unique (order_id, product_id),
    constraint order_lines_price_not_negative check (unit_price >= 0),
    constraint order_lines_quantity_positive check (quantity > 0),
    -- P1: a unit that went back into stock is not shipped.
    constraint order_lines_restocked_not_shipped check
        (restocked >= 0 and shipped >= 0 and restocked + shipped <= quantity),
    constraint order_lines_returned_was_shipped check (returned between 0 and shipped)
);
create index order_lines_by_product on order_lines (product_id);
create index order_lines_by_image on order_lines (image_id) where image_id is not null;

-- The timeline of an order: each change of status, and notes for the people who run the shop.
create table order_events (
    id          bigint primary key generated always as identity,
    order_id    uuid not null references orders (id) on delete cascade,
    kind        text not null,
    from_status text,
    to_status   text,
    actor       text not null,
    note        text not null default '',
    created_at  timestamptz not null default now()
);
create index order_events_by_order on order_events (order_id, id);

-- The shipment of an order.
create table shipments (
    order_id        uuid primary key references orders (id) on delete cascade,
    carrier         text not null,
    tracking_number text,
    tracking_url    text,
    shipped_at      timestamptz not null default now()
);
create index shipments_by_tracking_number on shipments (tracking_number) where tracking_number is not null;
-- Finds any part of a tracking number.
create index shipments_tracking on shipments using gin (lower(tracking_number) gin_trgm_ops);

create function order_lines_ship() returns trigger language plpgsql as $$
begin
    update order_lines
    set shipped = quantity - restocked
    where order_id = new.order_id;
    return null;
end $$;

create trigger shipments_shipped
    after insert on shipments
    for each row execute function order_lines_ship();

create table shipment_images (
    order_id uuid not null references shipments (order_id) on delete cascade,
    position integer not null,
    image_id text collate "C" not null references images (id),
    primary key (order_id, position)
);
create index shipment_images_by_image on shipment_images (image_id);
