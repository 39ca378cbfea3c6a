-- no-transaction
-- For the job that ends drafts: few among many products.
create index concurrently products_scheduled on products (on_sale_at) where on_sale_at is not null;
