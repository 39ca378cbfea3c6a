-- Stripe's events, newest first, and by a part of id or type.

create index stripe_events_by_received_at on stripe_events (received_at desc, id);
create index stripe_events_search_text on stripe_events using gin (lower(id || ' ' || type) gin_trgm_ops);
