-- Notes about customers, and the deletion of a customer's data on request. Amounts, dates and places stay, as tax law asks.

create table customer_notes (
    -- In lower case, as addresses are compared.
    email      text primary key,
    text       text not null,
    updated_at timestamptz not null default now(),

    constraint customer_notes_email_lower check (email = lower(email)),
    constraint customer_notes_text_length check (char_length(text) between 1 and 2000)
);

alter table orders
    add column erased_at timestamptz;

alter table custom_orders
    add column erased_at timestamptz;

-- Entries of the audit log stay as they are, and none goes. The deletion of a customer's data empties details.
create or replace function audit_log_refuse_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE'
       and current_setting('spirit_beads.is_erasing', true) = 'on'
       and new.before is null
       and new.after is null
       and to_jsonb(new) - 'before' - 'after' = to_jsonb(old) - 'before' - 'after'
    then
        return new;
    end if;
    raise exception 'the audit log is append-only';
end $$;
