-- Authentication: users, their sessions and sign-in attempts, and API tokens.

create table users (
    id              uuid primary key,
    email           text not null,
    role            text not null,
    password_hash   text not null,
    -- The second factor's secret derives from this and SECRET_KEY: the database alone yields no codes.
    factor_key      uuid,
    factor_begun_at timestamptz,
    -- Null while it is being set up.
    factor_since    timestamptz,
    -- The time step of the last accepted code: no code is accepted twice.
    factor_step     bigint not null default 0,
    created_at      timestamptz not null default now(),
    disabled_at     timestamptz,

    constraint users_email_length check (char_length(email) between 3 and 254),
    constraint users_role_known check (role in ('owner', 'staff')),
    constraint users_factor_has_key check (factor_since is null or factor_key is not null)
);
create unique index users_email_key on users (lower(email));

-- Each replaces the second factor once. A used code is deleted.
create table recovery_codes (
    user_id uuid not null references users (id) on delete cascade,
    hash    bytea not null,
    primary key (user_id, hash)
);

-- A browser that gave the password. A session that has ended is deleted.
create table sessions (
    id           uuid primary key,
    user_id      uuid not null references users (id) on delete cascade,
    token_hash   bytea not null,
    -- True until the browser gives the second factor, too.
    mfa_pending  boolean not null,
    address      text not null,
    browser      text not null default '',
    created_at   timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),

    constraint sessions_token_hash_key unique (token_hash)
);
create index sessions_by_user on sessions (user_id);
create index sessions_by_last_seen_at on sessions (last_seen_at);

create table sign_in_attempts (
    id        bigint primary key generated always as identity,
    step      text not null,
    -- A hash, because people type passwords into the wrong field.
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

create table api_tokens (
    id               bigint primary key generated always as identity,
    name             text not null,
    -- The name without case, null once the token is revoked or has expired: no two valid tokens share a name.
    name_key         text,
    hash             bytea not null,
    scopes           text[] not null,
    expires_at       timestamptz,
    -- The actor who made it, and the row of that user or token.
    created_by       text,
    created_by_user  uuid references users (id),
    created_by_token bigint references api_tokens (id),
    created_at       timestamptz not null default now(),
    last_used_at     timestamptz,
    revoked_at       timestamptz,

    constraint api_tokens_name_key_key unique (name_key),
    constraint api_tokens_hash_key unique (hash),
    constraint api_tokens_name_length check (char_length(name) between 1 and 100)
);
