-- The same for tracking numbers and the audit log.

create index parcels_tracking on parcels using gin (lower(tracking_number) gin_trgm_ops);
create index audit_log_search_text on audit_log using gin (lower(actor || ' ' || action || ' ' || object) gin_trgm_ops);
