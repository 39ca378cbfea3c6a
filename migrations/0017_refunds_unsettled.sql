-- no-transaction
-- For the figures: rare among many refunds.

create index concurrently refunds_unsettled on refunds (state, created_at) where state in ('planned', 'pending', 'failed');
