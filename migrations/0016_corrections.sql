-- Corrections of a customer's data.

alter table orders
    -- The columns that somebody corrected: what Stripe reports later does not change them back.
    add column corrected text[] not null default '{}';
