-- What the desk looks for, found without reading everything.

-- The most pieces of a product that there ever were: one of which there was only one does not run out, it is sold.
alter table products add column most_on_hand integer not null default 0;
update products
set most_on_hand = greatest(on_hand, coalesce((
    select max(ledger.on_hand)
    from (select sum(delta) over (order by id) as on_hand
          from stock_movements
          where product_id = products.id) ledger), 0));

create function products_keep_most_on_hand() returns trigger language plpgsql as $$
begin
    new.most_on_hand := greatest(new.most_on_hand, new.on_hand);
    return new;
end $$;

create trigger products_most_on_hand
    before insert or update of on_hand on products
    for each row execute function products_keep_most_on_hand();

-- A part of a name, an address or a tracking number.
create index orders_search_text on orders using gin (
    lower(' ' || coalesce(email, '') || ' ' || coalesce(customer_name, '') || ' ' || coalesce(shipping_name, ''))
    gin_trgm_ops);
create index parcels_tracking on parcels using gin (lower(tracking_number) gin_trgm_ops);
create index audit_log_search_text on audit_log using gin (lower(actor || ' ' || action || ' ' || object) gin_trgm_ops);
