-- The most pieces of a product that there ever were: one of which there was only one does not run out, it is sold.
-- Rows from before have theirs with the next migration, which holds up nobody.

alter table products add column peak_on_hand integer not null default 0;

create function products_keep_most_on_hand() returns trigger language plpgsql as $$
begin
    new.peak_on_hand := greatest(new.peak_on_hand, new.on_hand);
    return new;
end $$;

create trigger products_most_on_hand
    before insert or update of on_hand on products
    for each row execute function products_keep_most_on_hand();
