-- How much each client asked for lately. A client is a keyed hash of its address, and forgotten after a day.

create table rate_limit_counters (
    client bytea not null,
    action text not null,
    -- The beginning of the hour that is counted.
    began_at timestamptz not null,
    count    bigint not null,
    primary key (client, action, began_at)
);
create index client_actions_by_began_at on rate_limit_counters (began_at);

-- Whose hold it is. Null: nobody's whom we count.
alter table checkouts add column client bytea;
