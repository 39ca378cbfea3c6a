-- no-transaction
-- A part of an event's id or type.

create index concurrently stripe_events_search_text on stripe_events using gin (lower(id || ' ' || type) gin_trgm_ops);
