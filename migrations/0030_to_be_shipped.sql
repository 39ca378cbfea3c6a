-- "To be shipped" is one number per line: what was sold, less what went back into stock, less what was shipped. The
-- ledger and the shipments are counted here, whichever version of the program writes them.

alter table order_lines
    -- Back in stock without ever being shipped.
    add column restocked integer not null default 0,
    -- Shipped, or handed over at the sale.
    add column shipped integer not null default 0,
    -- Shipped, and back in stock since.
    add column returned integer not null default 0;

-- P1: a unit that went back into stock is not shipped. Lines from before are checked by a migration that holds up nobody.
alter table order_lines
    add constraint order_lines_restocked_not_shipped
        check (restocked >= 0 and shipped >= 0 and restocked + shipped <= quantity) not valid,
    add constraint order_lines_returned_was_shipped check (returned between 0 and shipped) not valid;

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

update order_lines
set restocked = ledger.pieces
from (select order_id, product_id, sum(delta) as pieces
      from stock_movements
      where reason = 'returned' and order_id is not null
      group by order_id, product_id) ledger
where order_lines.order_id = ledger.order_id
  and order_lines.product_id = ledger.product_id;

-- The pieces that went back into stock with a refund: should it fail, a person has to know.
alter table refunds add column restocked integer not null default 0;
