-- no-transaction
-- A part of a name or an email, found without reading every order.

create index concurrently orders_search_text on orders using gin (
    lower(' ' || coalesce(email, '') || ' ' || coalesce(customer_name, '') || ' ' || coalesce(shipping_name, ''))
    gin_trgm_ops);
