-- no-transaction
-- Finds orders by any part of the city and state that they go to.
create index concurrently orders_search_place on orders using gin (
    search_fold(' ' || (shipping_address ->> 'city') || coalesce(', ' || (shipping_address ->> 'state'), ''))
    gin_trgm_ops);
