-- no-transaction
-- What a client holds unpaid, delayed payments included. The index checkouts_held_by_client, which leaves them out, serves
-- the previous version; a later migration may drop it.

create index concurrently checkouts_unpaid_by_client on checkouts (client)
    where client is not null and state in ('asking', 'open', 'unknown', 'processing');
