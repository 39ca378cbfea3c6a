-- no-transaction
-- For the figures: rare among many events.

create index concurrently stripe_events_wrong_mode on stripe_events (received_at) where status = 'wrong_mode';
