-- no-transaction
-- Finds the orders of a product by any part of the name that it was sold by.
create index concurrently order_lines_search_fold on order_lines using gin (search_fold(' ' || name) gin_trgm_ops);
