-- The order that took the place of a checkout's: by it a shopper's other tab, whose cookie names the older order, finds the
-- hold of this one.

alter table checkouts add column replaced_by uuid;
