-- no-transaction
-- However often somebody asks, a failed refund is made again once.

create unique index concurrently refunds_retried_once on refunds (retry_of) where retry_of is not null;
