-- When the call for a quote's link was stored, under the key that it has now. Null: before there was this column, and
-- no earlier than the quote.

alter table custom_order_quotes add column asked_at timestamptz;
