-- no-transaction
-- Finds any part of a tracking number, whichever way it is grouped. shipments_tracking is for the previous version.
create index concurrently shipments_search_tracking on shipments using gin (
    lower(translate(tracking_number, ' -', '')) gin_trgm_ops);
