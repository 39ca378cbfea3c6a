-- The stock ledger: every change of `on_hand` with its reason. The rows of a product sum up to its `on_hand`.

create table stock_movements (
    id         bigint primary key generated always as identity,
    product_id text collate "C" not null references products (id),
    delta      integer not null,
    reason     text not null,
    order_id   uuid references orders (id),
    note       text not null default '',
    actor      text not null,
    created_at timestamptz not null default now(),

    constraint stock_movements_delta_not_zero check (delta <> 0),
    constraint stock_movements_reason_known check (reason in
        ('initial', 'received', 'made', 'correction', 'damaged', 'lost', 'returned', 'sale', 'import'))
);
create index stock_movements_by_product on stock_movements (product_id, id);
create index stock_movements_by_order on stock_movements (order_id) where order_id is not null;

create function order_lines_count_return() returns trigger language plpgsql as $$
begin
    update order_lines
    set restocked = restocked + case when shipped = 0 then new.delta else 0 end,
        returned = returned + case when shipped = 0 then 0 else new.delta end
    where order_id = new.order_id
      and product_id = new.product_id;
    return null;
end $$;

create trigger stock_movements_returned
    after insert on stock_movements
    for each row when (new.reason = 'returned' and new.order_id is not null)
    execute function order_lines_count_return();

-- Pieces of an order that went back into stock without money, for example of an order that was refunded in Stripe's
-- dashboard. The id is the caller's: a repeated one has no effect.
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
