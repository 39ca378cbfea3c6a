-- no-transaction
-- For the figures: rare among many products.

create index concurrently products_unsynced on products (stripe_status) where stripe_status in ('pending', 'error');
