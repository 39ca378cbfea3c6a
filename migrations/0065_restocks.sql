-- Pieces of an order that went back into stock by themselves, without money: those of an order that was refunded at Stripe's
-- dashboard, say. The id is the caller's, so one that comes twice is one.

create table restocks (
    id         uuid primary key,
    order_id   uuid not null references orders (id) on delete cascade,
    -- [{"product_id": "sunrise", "quantity": 1}], in id order.
    pieces     jsonb not null,
    reason     text not null,
    actor      text not null,
    created_at timestamptz not null default now(),
    constraint restocks_pieces_named check (jsonb_array_length(pieces) > 0)
);

-- Since when an order that was refunded in full, or about to be, is to be shipped after all, because that refund failed. Its
-- pieces may be with somebody else by now, so shipping it asks for confirmation.
alter table orders add column refund_failed_at timestamptz;

update orders
set refund_failed_at = now()
where status = 'paid'
  and exists (select from order_events e
              where e.order_id = orders.id and e.from_status = 'refunded' and e.to_status = 'paid');
