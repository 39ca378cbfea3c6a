-- What the sandbox knows. An object is kept as the JSON it is answered with.
create schema if not exists stripe_sandbox;

create table if not exists stripe_sandbox.objects (
    id text primary key,
    object text not null,
    seq bigint generated always as identity unique,
    created bigint not null, -- Unix seconds, as Stripe writes time
    data jsonb not null,
    private jsonb not null default '{}', -- what Stripe keeps to itself: a session's lines
    constraint objects_id_in_data check (data ->> 'id' = id and data ->> 'object' = object)
);
create index if not exists objects_by_kind on stripe_sandbox.objects (object, seq);
create index if not exists objects_by_content on stripe_sandbox.objects using gin (data jsonb_path_ops);
create index if not exists objects_open_sessions on stripe_sandbox.objects (((data ->> 'expires_at')::bigint))
    where object = 'checkout.session' and data ->> 'status' = 'open';

-- An answer kept for a repeat under the same key; only written together with the change that it answers.
create table if not exists stripe_sandbox.idempotency_keys (
    key text primary key,
    request text not null, -- the id of the request first made with it
    operation text not null,
    path text not null,
    parameters text not null,
    status smallint not null,
    body jsonb not null,
    created timestamptz not null default now()
);

create table if not exists stripe_sandbox.deliveries (
    event text primary key references stripe_sandbox.objects,
    seq bigint generated always as identity unique,
    attempts integer not null default 0,
    due timestamptz not null default now(),
    delivered timestamptz,
    answer text -- what the last attempt met
);
create index if not exists deliveries_due on stripe_sandbox.deliveries (seq) where delivered is null;
