-- Letters: queued by the change that causes them, at most one per cause.

create table letters (
    id           uuid primary key,
    -- The stable name of what caused it, as `order_confirmation:ORDER`; the Message-ID is made of it.
    cause        text not null,
    kind         text not null,
    -- An address, or `shop`.
    recipient    text not null,
    copy_to      text,
    order_id     uuid references orders (id) on delete set null,
    request_id   uuid,
    -- What it says: `email::Letter`.
    contents     jsonb not null,
    state        text not null default 'queued',
    attempts     integer not null default 0,
    -- How often it was sent again on purpose: each time is a letter of its own to mail programs.
    resends      integer not null default 0,
    -- The first attempt of those still going on; it is given up some days after.
    trying_since timestamptz,
    -- The last attempt.
    tried_at     timestamptz,
    -- The next attempt of a queued letter.
    due_at       timestamptz not null default now(),
    last_error   text,
    created_at   timestamptz not null default now(),
    sent_at      timestamptz,
    constraint letters_cause_key unique (cause),
    constraint letters_state_known check (state in ('queued', 'sending', 'sent', 'failed')),
    constraint letters_sent_has_time check (state <> 'sent' or sent_at is not null)
);
create index letters_by_created_at on letters (created_at desc, id desc);
create index letters_by_order on letters (order_id) where order_id is not null;
create index letters_by_request on letters (request_id) where request_id is not null;
create index letters_unsent on letters (due_at) where state in ('queued', 'sending');
