-- no-transaction
-- Whose client is to be forgotten.

create index concurrently checkouts_with_client on checkouts (updated_at) where client is not null;
