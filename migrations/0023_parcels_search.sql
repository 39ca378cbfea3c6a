-- no-transaction
-- A part of a tracking number.

create index concurrently parcels_tracking on parcels using gin (lower(tracking_number) gin_trgm_ops);
