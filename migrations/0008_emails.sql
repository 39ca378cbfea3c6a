-- Emails: queued by the transaction that causes them, at most one per event.

create table emails (
    id              uuid primary key,
    -- Names the event, as `order_confirmation:ORDER`: a second email with the same key is ignored. The Message-ID derives
    -- from it.
    dedup_key       text not null,
    kind            text not null,
    -- An address, or `shop`.
    recipient       text not null,
    copy_to         text,
    order_id        uuid references orders (id) on delete set null,
    custom_order_id uuid references custom_orders (id) on delete set null,
    -- The data of its text, an `Email`.
    contents        jsonb not null,
    state           text not null default 'queued',
    attempts        integer not null default 0,
    -- True while the recipient has the email and only its copy, which the server deferred, is still to be delivered.
    copy_only       boolean not null default false,
    -- How often it was sent again on request: to mail programs, each time is a new message.
    resends         integer not null default 0,
    -- The first of the present series of attempts. After some days the email is given up.
    trying_since    timestamptz,
    -- The last attempt.
    tried_at        timestamptz,
    -- The next attempt of a queued email.
    due_at          timestamptz not null default now(),
    last_error      text,
    created_at      timestamptz not null default now(),
    sent_at         timestamptz,

    constraint emails_dedup_key_key unique (dedup_key),
    constraint emails_state_known check (state in ('queued', 'sending', 'sent', 'failed')),
    constraint emails_sent_has_time check (state <> 'sent' or sent_at is not null)
);
create index emails_by_created_at on emails (created_at desc, id desc);
create index emails_by_order on emails (order_id) where order_id is not null;
create index emails_by_custom_order on emails (custom_order_id) where custom_order_id is not null;
create index emails_unsent on emails (due_at) where state in ('queued', 'sending');
-- For the metrics: few among many emails.
create index emails_failed on emails (created_at) where state = 'failed';
