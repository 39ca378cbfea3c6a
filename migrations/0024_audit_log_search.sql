-- no-transaction
-- A part of who did what to which.

create index concurrently audit_log_search_text on audit_log
    using gin (lower(actor || ' ' || action || ' ' || object) gin_trgm_ops);
