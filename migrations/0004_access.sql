-- Who may write, what was answered before, and which workers are alive.

create table api_tokens (
    id           bigint primary key generated always as identity,
    name         text not null,
    hash         bytea not null,
    scopes       text[] not null,
    created_at   timestamptz not null default now(),
    last_used_at timestamptz,
    revoked_at   timestamptz,
    constraint api_tokens_hash_key unique (hash),
    constraint api_tokens_name_length check (char_length(name) between 1 and 100)
);

-- The first answer to a request that carried an Idempotency-Key; kept for a day.
create table idempotency_keys (
    scope       text not null,
    key         text not null,
    fingerprint bytea not null,
    order_id    uuid references orders (id) on delete cascade,
    status      integer,
    answer      jsonb,
    created_at  timestamptz not null default now(),
    primary key (scope, key)
);
create index idempotency_keys_by_created_at on idempotency_keys (created_at);

create table worker_heartbeats (
    worker  uuid primary key,
    last_seen_at timestamptz not null default now()
);
