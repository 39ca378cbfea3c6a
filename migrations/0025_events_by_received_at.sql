-- no-transaction
-- Stripe's events, newest first.

create index concurrently stripe_events_by_received_at on stripe_events (received_at desc, id);
