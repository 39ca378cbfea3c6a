-- no-transaction
-- For the payment method of the last sale in person, which the page of sales suggests.
create index concurrently orders_by_hand on orders (created_at desc) where payment_method is not null;
