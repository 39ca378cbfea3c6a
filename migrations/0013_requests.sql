-- Requests: what keeps a repeated one from taking effect twice, and a client from sending too many.

-- The first answer to an API request with an Idempotency-Key, kept for a day.
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

-- Submitted forms of the admin: each takes effect once, however often it is sent.
create table form_submissions (
    -- Derives from the form's one-time id and from the session that it was rendered for, and reveals neither.
    id           bytea primary key,
    -- Identifies the attempt that processes it. The next attempt has another.
    attempt      uuid not null,
    state        text not null default 'running',
    -- Renewed during processing. Once it has passed, the process that held it has died.
    lease_until  timestamptz not null,
    -- Set by the transaction that makes the change, so that both commit or neither does.
    effect_at    timestamptz,
    -- A keyed hash of the cookie that it came with, and of the session cookie set by its answer.
    credential   bytea not null,
    successor    bytea,
    -- A keyed hash of the fields.
    fingerprint  bytea,
    -- The first answer, encrypted under a key that takes the form's one-time id and ours to derive.
    answer       bytea,
    answer_until timestamptz,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),

    constraint form_submissions_state_known check (state in ('running', 'done', 'failed'))
);
create index form_submissions_by_created_at on form_submissions (created_at);

-- Recent requests per client. A client is a keyed hash of its address, and is forgotten after a day.
create table rate_limit_counters (
    client   bytea not null,
    action   text not null,
    -- The start of the hour that is counted.
    began_at timestamptz not null,
    count    bigint not null,
    primary key (client, action, began_at)
);
create index rate_limit_counters_by_began_at on rate_limit_counters (began_at);
