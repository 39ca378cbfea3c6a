-- Review items: each thing that a person must look at is a row of its own, resolved by itself only (P10). They take the
-- place of the one `attention` text of an order or a custom order, which a later, smaller trouble overwrote.

create table review_items (
    id              uuid primary key default gen_random_uuid(),
    -- The custom order comes first: its row is locked before an order's, here as everywhere. Both may be named, and
    -- neither is for what concerns the shop as a whole.
    custom_order_id uuid references custom_orders (id) on delete cascade,
    order_id        uuid references orders (id) on delete cascade,
    -- `review_items::Kind` lists the kinds. A CHECK would hold up the next version, which may know more of them.
    kind            text not null,
    -- The stable name of the cause, as `refund:re_1`: the same cause raises one item, however often it is reported.
    cause           text collate "C" not null,
    text            text not null,
    deadline        timestamptz,
    raised_at       timestamptz not null default now(),
    resolved_at     timestamptz,
    resolved_by     text,
    -- The result, where the item was resolved because its cause went away.
    resolution      text,
    constraint review_items_cause_key unique (cause),
    constraint review_items_kind_named check (kind ~ '^[a-z_]+$'),
    constraint review_items_text_said check (text <> ''),
    constraint review_items_resolved_by_somebody check ((resolved_at is null) = (resolved_by is null))
);
create index review_items_open on review_items (deadline, raised_at desc) where resolved_at is null;
create index review_items_by_order on review_items (order_id) where order_id is not null;
create index review_items_by_custom_order on review_items (custom_order_id) where custom_order_id is not null;
create index review_items_by_raised_at on review_items (raised_at desc, id desc);

-- While the previous version serves, it writes `attention` and knows no items. Each text of its becomes one, and its
-- "seen to" resolves it. Nothing else writes the column any more; a later migration drops it with this trigger.
create function attention_becomes_review_item() returns trigger language plpgsql as $$
begin
    update review_items
    set resolved_at = now(), resolved_by = 'previous version'
    where kind = 'earlier'
      and resolved_at is null
      and case tg_table_name when 'orders' then order_id = new.id else custom_order_id = new.id end;
    if new.attention is not null then
        insert into review_items (custom_order_id, order_id, kind, cause, text)
        select case tg_table_name when 'custom_orders' then new.id end,
               case tg_table_name when 'orders' then new.id end,
               'earlier', 'attention:' || gen_random_uuid(), new.attention
        where new.attention <> '';
    end if;
    return null;
end $$;

create trigger custom_orders_attention
    after update of attention on custom_orders
    for each row when (old.attention is distinct from new.attention)
    execute function attention_becomes_review_item();
create trigger orders_attention
    after update of attention on orders
    for each row when (old.attention is distinct from new.attention)
    execute function attention_becomes_review_item();

insert into review_items (custom_order_id, kind, cause, text, raised_at)
select id, 'earlier', 'attention:' || gen_random_uuid(), attention, updated_at
from custom_orders
where attention <> '';
insert into review_items (order_id, kind, cause, text, raised_at)
select id, 'earlier', 'attention:' || gen_random_uuid(), attention, updated_at
from orders
where attention is not null
  and attention <> '';
