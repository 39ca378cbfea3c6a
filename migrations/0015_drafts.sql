-- Drafts: products that shoppers do not see yet, with an optional time at which they go on sale.

alter table products
    add column is_draft   boolean not null default false,
    -- The time from which shoppers see a draft. A job ends the draft later; reads do not wait for it.
    add column on_sale_at timestamptz,
    add constraint products_only_active_drafts_are_scheduled check (on_sale_at is null or (is_draft and is_active));
