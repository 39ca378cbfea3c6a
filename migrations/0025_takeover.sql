-- What the shop has to know of rows that were copied from the shop it replaces.

-- A session that the old shop asked for. Its payment page stays payable after the switch, but what was asked for is kept
-- nowhere: the session itself tells the shipping and the total.
alter table checkouts
    alter column request drop not null,
    add constraint checkouts_copied_has_session check (request is not null or session_id is not null);

-- The old shop's users marked it as paid, and its payment is not known. The first payment of its session, or of its custom
-- order's link, is that payment and no second one.
alter table orders
    add column payment_unrecorded boolean not null default false,
    add constraint orders_unrecorded_payment_is_of_paid check (not payment_unrecorded or paid_at is not null);

-- The old shop made this quote's link: it takes any number of payments, and the request for it is kept nowhere. Its id at
-- Stripe may not be known.
alter table custom_order_quotes
    add column is_copied boolean not null default false,
    drop constraint custom_order_quotes_asked_has_stripe_request,
    add constraint custom_order_quotes_asked_has_stripe_request check
        (case when is_copied then stripe_request is null and state in ('live', 'closing', 'closed', 'paid')
              else (state = 'draft') = (stripe_request is null) end),
    drop constraint custom_order_quotes_live_has_link,
    add constraint custom_order_quotes_live_has_link check
        (state not in ('live', 'closing')
         or (valid_until is not null and (link_id is not null or (is_copied and link_url is not null))));

-- Refunds that Stripe made before this time were the old shop's to tell about: no email repeats them.
alter table payments
    add column copied_at timestamptz;

-- The old shop still sells this product by its Stripe price: nothing of it is told to Stripe until that shop is closed.
alter table products
    add column stripe_paused boolean not null default false;

-- The Stripe account to which the ids in this database belong.
create table stripe_account (
    singleton   boolean primary key default true,
    id          text not null,
    recorded_at timestamptz not null default now(),

    constraint stripe_account_singleton check (singleton),
    constraint stripe_account_id_said check (id <> '')
);
