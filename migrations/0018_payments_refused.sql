-- no-transaction
-- For the figures: rare among many payments.

create index concurrently payments_refused on payments (created_at) where outcome = 'refused';
