-- no-transaction
-- Finished events that may still say something of people, oldest first.

create index concurrently stripe_events_to_redact on stripe_events (received_at) where redacted_at is null and status in ('processed', 'ignored');
