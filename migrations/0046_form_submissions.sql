-- Forms of the admin that were sent: each takes effect once, however often it is sent.

create table form_submissions (
    -- Derived from the form's once-id and from the session that it was rendered for: neither can be told from it.
    id           bytea primary key,
    -- Whoever carries it out. Another attempt has another.
    attempt      uuid not null,
    state        text not null default 'running',
    -- Renewed while it is carried out: after this time whoever did it has died.
    lease_until  timestamptz not null,
    -- Set by the transaction that changes something, so that both commit or neither does.
    effect_at    timestamptz,
    -- A keyed hash of the cookie that it came with, and of the session's cookie that it was answered with.
    credential   bytea not null,
    successor    bytea,
    -- A keyed hash of what was sent.
    fingerprint  bytea,
    -- The first answer, encrypted under a key that only the form's once-id and ours together give.
    answer       bytea,
    answer_until timestamptz,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    constraint form_submissions_state_known check (state in ('running', 'done', 'failed'))
);
create index form_submissions_by_created_at on form_submissions (created_at);
