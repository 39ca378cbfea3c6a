-- What changed in the catalog, by transaction: each process validates with it what it keeps in memory. See
-- docs/architecture.md, "Reads from memory".
--
-- Unlogged: after a crash or a fail-over every process begins anew, so nobody reads what was there before.

create unlogged table catalog_changes (
    xid        xid8 not null default pg_current_xact_id(),
    -- Null stands for everything.
    product_id text collate "C"
);
create index catalog_changes_by_xid on catalog_changes (xid);

-- Changes of transactions before `xid` are deleted. `next_xid` becomes it some minutes after `next_at`, so that processes
-- which validate all the time never fall behind.
create unlogged table catalog_horizon (
    singleton boolean primary key default true,
    xid       xid8 not null,
    next_xid  xid8 not null,
    next_at   timestamptz not null default now(),

    constraint catalog_horizon_once check (singleton)
);

-- Records these products, or everything if they are many.
create function catalog_record_changes(ids text[]) returns void language sql as $$
    insert into catalog_changes (product_id)
    select id from unnest(ids) as id where cardinality(ids) <= 200
    union all
    select null where cardinality(ids) > 200
$$;

-- Statement triggers cannot name columns and have the changed rows, so these compare the columns that shoppers see.
create function catalog_products_changed() returns trigger language plpgsql as $$
begin
    perform catalog_record_changes(changed.ids)
    from (select array_agg(coalesce(n.id, o.id)) as ids
          from old_rows o
          full join new_rows n on n.id = o.id
          where (o.id, o.name, o.slug, o.lighter_type, o.price, o.currency, o.category_id, o.description, o.primary_image,
                 o.secondary_image, o.weight_ounces, o.is_sold_out, o.is_active, o.is_draft, o.on_sale_at, o.on_hand,
                 o.reserved, o.created_at, o.updated_at, o.deleted_at)
                is distinct from
                (n.id, n.name, n.slug, n.lighter_type, n.price, n.currency, n.category_id, n.description, n.primary_image,
                 n.secondary_image, n.weight_ounces, n.is_sold_out, n.is_active, n.is_draft, n.on_sale_at, n.on_hand,
                 n.reserved, n.created_at, n.updated_at, n.deleted_at)) as changed
    where changed.ids is not null;
    return null;
end $$;

create function catalog_products_came_or_went() returns trigger language plpgsql as $$
begin
    perform catalog_record_changes(array_agg(id)) from changed_rows having count(*) > 0;
    return null;
end $$;

create function catalog_images_of_products_changed() returns trigger language plpgsql as $$
begin
    perform catalog_record_changes(array_agg(distinct product_id)) from changed_rows having count(*) > 0;
    return null;
end $$;

create function catalog_all_changed() returns trigger language plpgsql as $$
begin
    insert into catalog_changes (product_id) values (null);
    return null;
end $$;

create trigger catalog_changes_insert after insert on products
    referencing new table as changed_rows
    for each statement execute function catalog_products_came_or_went();
create trigger catalog_changes_update after update on products
    referencing old table as old_rows new table as new_rows
    for each statement execute function catalog_products_changed();
create trigger catalog_changes_delete after delete on products
    referencing old table as changed_rows
    for each statement execute function catalog_products_came_or_went();
create trigger catalog_changes_truncate after truncate on products
    for each statement execute function catalog_all_changed();

create trigger catalog_changes_insert after insert on product_images
    referencing new table as changed_rows
    for each statement execute function catalog_images_of_products_changed();
create trigger catalog_changes_update_old after update on product_images
    referencing old table as changed_rows
    for each statement execute function catalog_images_of_products_changed();
create trigger catalog_changes_update_new after update on product_images
    referencing new table as changed_rows
    for each statement execute function catalog_images_of_products_changed();
create trigger catalog_changes_delete after delete on product_images
    referencing old table as changed_rows
    for each statement execute function catalog_images_of_products_changed();
create trigger catalog_changes_truncate after truncate on product_images
    for each statement execute function catalog_all_changed();

create trigger catalog_changes_insert after insert on categories
    for each statement execute function catalog_all_changed();
create trigger catalog_changes_update after update on categories
    for each row when ((old.id, old.name, old.slug, old.description, old.position)
                       is distinct from (new.id, new.name, new.slug, new.description, new.position))
    execute function catalog_all_changed();
create trigger catalog_changes_delete after delete on categories
    for each statement execute function catalog_all_changed();
create trigger catalog_changes_truncate after truncate on categories
    for each statement execute function catalog_all_changed();

create trigger catalog_changes_update after update on images
    for each row when ((old.id, old.width, old.height, old.thumbhash)
                       is distinct from (new.id, new.width, new.height, new.thumbhash))
    execute function catalog_all_changed();

-- `session_replication_role` does not switch them off.
alter table products enable always trigger catalog_changes_insert;
alter table products enable always trigger catalog_changes_update;
alter table products enable always trigger catalog_changes_delete;
alter table products enable always trigger catalog_changes_truncate;
alter table product_images enable always trigger catalog_changes_insert;
alter table product_images enable always trigger catalog_changes_update_old;
alter table product_images enable always trigger catalog_changes_update_new;
alter table product_images enable always trigger catalog_changes_delete;
alter table product_images enable always trigger catalog_changes_truncate;
alter table categories enable always trigger catalog_changes_insert;
alter table categories enable always trigger catalog_changes_update;
alter table categories enable always trigger catalog_changes_delete;
alter table categories enable always trigger catalog_changes_truncate;
alter table images enable always trigger catalog_changes_update;
