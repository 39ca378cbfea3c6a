-- no-transaction
-- For the carrier of the last shipment, which forms preselect.
create index concurrently shipments_by_shipped_at on shipments (shipped_at);
