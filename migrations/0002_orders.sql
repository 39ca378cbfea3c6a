-- Orders: what was bought, for how much, and where it went.

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
    attention        text,
    dispute          text,
    created_at       timestamptz not null default now(),
    paid_at          timestamptz,
    updated_at       timestamptz not null default now(),
    constraint orders_number_key unique (number),
    constraint orders_status_known check (status in
        ('pending', 'paid', 'shipped', 'delivered', 'refunded', 'expired', 'cancelled', 'failed')),
    constraint orders_channel_known check (channel in ('storefront', 'manual')),
    constraint orders_zone_known check (shipping_zone in ('us', 'north_america', 'international')),
    constraint orders_amounts_whole check (subtotal >= 0 and shipping >= 0 and tax >= 0 and total = subtotal + shipping + tax),
    constraint orders_refund_within_total check (refunded >= 0 and refunded <= total),
    constraint orders_paid_has_time check ((paid_at is not null) = (status in ('paid', 'shipped', 'delivered', 'refunded')))
);
create index orders_by_created_at on orders (created_at desc, id desc);
create index orders_by_status on orders (status, created_at desc, id desc);
create index orders_by_email on orders (lower(email)) where email is not null;

-- A line keeps what was promised when it was placed: name, image and price do not follow the product.
create table order_lines (
    order_id   uuid not null references orders (id) on delete cascade,
    position   integer not null,
    product_id text collate "C" not null references products (id),
    name       text not null,
    image      text,
    unit_price bigint not null,
    quantity   integer not null,
    primary key (order_id, position),
    constraint order_lines_product_once unique (order_id, product_id),
    constraint order_lines_quantity_positive check (quantity > 0),
    constraint order_lines_price_not_negative check (unit_price >= 0)
);
create index order_lines_by_product on order_lines (product_id);

alter table stock_movements
    add constraint stock_movements_order_fkey foreign key (order_id) references orders (id);

-- The timeline: each move of an order, and whatever else the owner should know of it.
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
