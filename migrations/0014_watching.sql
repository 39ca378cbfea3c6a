-- What the figures for Prometheus look for: each is rare among many rows.

create index letters_failed on letters (created_at) where state = 'failed';
create index refunds_unsettled on refunds (state, created_at) where state in ('planned', 'pending', 'failed');
create index payments_refused on payments (created_at) where outcome = 'refused';
create index products_unsynced on products (stripe_status) where stripe_status in ('pending', 'error');
