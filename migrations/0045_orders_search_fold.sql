-- no-transaction
-- A part of a name or an email of an order, found however its emails are accented. The index before it stays while the
-- previous version serves.

create index concurrently orders_search_fold on orders using gin (
    search_fold(' ' || coalesce(email, '') || ' ' || coalesce(customer_name, '') || ' ' || coalesce(shipping_name, ''))
    gin_trgm_ops);
