-- The owner's desk: who may come in, who is in, who tried, and what was changed.

create table users (
    id            uuid primary key,
    email         text not null,
    role          text not null,
    password_hash text not null,
    -- The second factor's secret is derived of this and SECRET_KEY: the database alone gives no codes.
    factor_key    uuid,
    factor_begun_at timestamptz,
    -- Null while it is being set up.
    factor_since  timestamptz,
    -- The time step of the last code that was taken: no code is taken twice.
    factor_step   bigint not null default 0,
    created_at    timestamptz not null default now(),
    disabled_at   timestamptz,
    constraint users_email_length check (char_length(email) between 3 and 254),
    constraint users_role_known check (role in ('owner', 'staff')),
    constraint users_factor_has_key check (factor_since is null or factor_key is not null)
);
create unique index users_email_key on users (lower(email));

-- Each opens the door once where the second factor is lost; a used one is deleted.
create table recovery_codes (
    user_id uuid not null references users (id) on delete cascade,
    hash    bytea not null,
    primary key (user_id, hash)
);

-- A browser that gave the password; `mfa_pending` until it gave the second factor, too. Ended ones are deleted.
create table sessions (
    id         uuid primary key,
    user_id    uuid not null references users (id) on delete cascade,
    token_hash bytea not null,
    mfa_pending    boolean not null,
    address    text not null,
    browser    text not null default '',
    created_at timestamptz not null default now(),
    last_seen_at    timestamptz not null default now(),
    constraint sessions_token_hash_key unique (token_hash)
);
create index sessions_by_user on sessions (user_id);
create index sessions_by_last_seen_at on sessions (last_seen_at);

-- Who tried to get in. The account is a hash: people type passwords into the wrong field.
create table sign_in_attempts (
    id        bigint primary key generated always as identity,
    step      text not null,
    account   bytea not null,
    address   text not null,
    -- The known browser that tried, if it was one.
    browser   uuid,
    succeeded boolean not null default false,
    tried_at  timestamptz not null default now(),
    constraint sign_in_attempts_step_known check (step in ('password', 'second_factor'))
);
create index sign_in_attempts_by_account on sign_in_attempts (account, tried_at);
create index sign_in_attempts_by_address on sign_in_attempts (address, tried_at);
create index sign_in_attempts_by_tried_at on sign_in_attempts (tried_at);

-- Every change that somebody made at the desk or by a command: written with the change, and never rewritten.
create table audit_log (
    id         bigint primary key generated always as identity,
    created_at    timestamptz not null default now(),
    actor      text not null,
    user_id    uuid references users (id),
    action     text not null,
    object     text not null,
    before     jsonb,
    after      jsonb,
    request_id text,
    constraint audit_log_action_named check (action ~ '^[a-z_]+\.[a-z_]+$')
);
create index audit_log_by_object on audit_log (object, id);
create index audit_log_by_actor on audit_log (actor, id);

create function audit_log_is_only_added_to() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is only added to';
end $$;

create trigger audit_log_kept
    before update or delete on audit_log
    for each row execute function audit_log_is_only_added_to();
create trigger audit_log_kept_whole
    before truncate on audit_log
    for each statement execute function audit_log_is_only_added_to();

-- What the desk's first page asks of the orders.
create index orders_by_paid_at on orders (paid_at) where paid_at is not null;
create index orders_with_attention on orders (created_at desc, id desc) where attention is not null;
