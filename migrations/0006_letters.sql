-- Letters: queued by the change that causes them, at most one per cause and recipient.

create table letters (
    id         uuid primary key,
    -- The stable name of what caused it, as `order_confirmation:ORDER`; the Message-ID is made of it.
    cause      text not null,
    kind       text not null,
    recipient  text not null,
    copy_to    text,
    order_id   uuid references orders (id) on delete set null,
    request_id uuid,
    -- What it says: `email::Letter`.
    contents   jsonb not null,
    state      text not null default 'queued',
    attempts   integer not null default 0,
    last_error text,
    created_at timestamptz not null default now(),
    tried_at   timestamptz,
    sent_at    timestamptz,
    constraint letters_cause_key unique (cause),
    constraint letters_state_known check (state in ('queued', 'sending', 'sent', 'failed'))
);
create index letters_by_created_at on letters (created_at desc, id desc);
create index letters_by_order on letters (order_id) where order_id is not null;
create index letters_by_request on letters (request_id) where request_id is not null;
create index letters_unsent on letters (created_at) where state in ('queued', 'sending');
