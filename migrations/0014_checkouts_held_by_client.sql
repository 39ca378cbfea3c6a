-- no-transaction
-- What a client holds unpaid.

create index concurrently checkouts_held_by_client on checkouts (client)
    where client is not null and state in ('asking', 'open', 'unknown');
