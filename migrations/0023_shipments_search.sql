-- no-transaction
-- A part of a tracking number.

create index concurrently shipments_tracking on shipments using gin (lower(tracking_number) gin_trgm_ops);
