-- What a refund was asked for with, as {"amount": 2000, "restock": [{"product_id": "sunrise", "quantity": 1}]}: no amount asks
-- for all that is left. A repeat of its id with something else in it is refused. Null for refunds that nobody asked for, and for
-- those of earlier versions.

alter table refunds add column asked jsonb;
