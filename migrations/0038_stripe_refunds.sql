-- Refunds as Stripe reports them, and what is known of the tries of ours.

-- Ours and the dashboard's, by Stripe's id: reports come in any order, and a failed refund is told from a newer one by it.
create table stripe_refunds (
    id         text primary key,
    payment_id text not null references payments (id),
    -- The refund of ours that it was made for.
    refund_id  uuid references refunds (id),
    amount     bigint not null,
    state      text not null,
    -- Stripe's word for it, where somebody chose one at the dashboard.
    reason     text,
    created_at timestamptz not null default now(),
    failed_at  timestamptz,
    -- Since when its order and the customer are told of it.
    told_at    timestamptz,
    -- Since when a person is shown that it failed.
    flagged_at timestamptz,
    constraint stripe_refunds_amount_not_negative check (amount >= 0),
    constraint stripe_refunds_state_known check (state in ('pending', 'succeeded', 'failed')),
    constraint stripe_refunds_failed_has_time check ((state = 'failed') = (failed_at is not null))
);
create index stripe_refunds_by_payment on stripe_refunds (payment_id);

insert into stripe_refunds (id, payment_id, refund_id, amount, state, failed_at, told_at, flagged_at)
select failed.stripe_refund_id, failed.payment_id, ours.id, failed.amount, 'failed', failed.failed_at, now(), now()
from refund_failures failed
join payments on payments.id = failed.payment_id
left join refunds ours on ours.stripe_refund_id = failed.stripe_refund_id;

insert into stripe_refunds (id, payment_id, refund_id, amount, state, created_at, failed_at, told_at,
                            flagged_at)
select stripe_refund_id, payment_id, id, amount, case state when 'planned' then 'pending' else state end, created_at,
       case state when 'failed' then updated_at end, now(), now()
from refunds
where stripe_refund_id is not null
on conflict (id) do nothing;

-- Refunds up to this moment were told of by their sum alone.
alter table payments add column refunds_told_until timestamptz;
update payments set refunds_told_until = refunded_as_of where refunded > 0;

alter table refunds
    -- Who decided on it.
    add column actor text not null default 'stripe',
    -- `amount` is what is asked for at Stripe: less than this, where part was refunded elsewhere meanwhile.
    add column wanted_amount bigint,
    add column attempts integer not null default 0,
    -- A try is under way, or its process died. Counted from `updated_at`.
    add column is_trying boolean not null default false,
    -- The wait for the next try, counted from `updated_at`.
    add column retry_wait interval not null default '0',
    -- Rises with each request under this refund that differs from the last, or that Stripe surely did not carry out.
    add column key_number integer not null default 0,
    -- Since when a person knows that it does not go through.
    add column flagged_at timestamptz,
    -- The failed refund that this one was made in place of.
    add column retry_of uuid references refunds (id);

-- Those on their way may have been tried before: what Stripe made of them is looked at first.
update refunds set attempts = 1 where state = 'planned';
