-- Review items (P10): each thing that a person must look at is a row of its own and is resolved by itself, so a later,
-- smaller trouble hides no earlier one.

create table review_items (
    id              uuid primary key default gen_random_uuid(),
    -- What it is about: both may be set, and neither is for what concerns the shop as a whole. The custom order comes
    -- first because its row is locked before an order's, here as everywhere.
    custom_order_id uuid references custom_orders (id) on delete cascade,
    order_id        uuid references orders (id) on delete cascade,
    -- `review_items::Kind` lists the kinds. No check does: it would refuse a kind of the next version, which may already
    -- serve beside this one.
    kind            text not null,
    -- Names the cause, as `refund:re_1`: one cause raises one item, however often it is reported.
    cause           text collate "C" not null,
    text            text not null,
    deadline        timestamptz,
    raised_at       timestamptz not null default now(),
    resolved_at     timestamptz,
    resolved_by     text,
    -- The result, if the item was resolved because its cause went away.
    resolution      text,

    constraint review_items_cause_key unique (cause),
    constraint review_items_kind_named check (kind ~ '^[a-z_]+$'),
    constraint review_items_text_said check (text <> ''),
    constraint review_items_resolved_by_somebody check ((resolved_at is null) = (resolved_by is null))
);
create index review_items_open on review_items (deadline, raised_at desc) where resolved_at is null;
create index review_items_by_raised_at on review_items (raised_at desc, id desc);
create index review_items_by_order on review_items (order_id) where order_id is not null;
create index review_items_by_custom_order on review_items (custom_order_id) where custom_order_id is not null;
