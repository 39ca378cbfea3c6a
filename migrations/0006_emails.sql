-- Emails: queued by the change that causes them, at most one per cause.

create table emails (
    id           uuid primary key,
    -- The stable name of what caused it, as `order_confirmation:ORDER`; the Message-ID is made of it.
    cause        text not null,
    kind         text not null,
    -- An address, or `shop`.
    recipient    text not null,
    copy_to      text,
    order_id     uuid references orders (id) on delete set null,
    custom_order_id   uuid,
    -- What it says: `email::Email`.
    contents     jsonb not null,
    state        text not null default 'queued',
    attempts     integer not null default 0,
    -- How often it was sent again on purpose: each time is an email of its own to mail programs.
    resends      integer not null default 0,
    -- The first attempt of those still going on; it is given up some days after.
    trying_since timestamptz,
    -- The last attempt.
    tried_at     timestamptz,
    -- The next attempt of a queued email.
    due_at       timestamptz not null default now(),
    last_error   text,
    created_at   timestamptz not null default now(),
    sent_at      timestamptz,
    constraint emails_cause_key unique (cause),
    constraint emails_state_known check (state in ('queued', 'sending', 'sent', 'failed')),
    constraint emails_sent_has_time check (state <> 'sent' or sent_at is not null)
);
create index emails_by_created_at on emails (created_at desc, id desc);
create index emails_by_order on emails (order_id) where order_id is not null;
create index emails_by_custom_order on emails (custom_order_id) where custom_order_id is not null;
create index emails_unsent on emails (due_at) where state in ('queued', 'sending');
