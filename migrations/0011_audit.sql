-- The audit log: every change made by a user, a token or a command. Written in the change's transaction, and append-only.

create table audit_log (
    id         bigint primary key generated always as identity,
    created_at timestamptz not null default now(),
    actor      text not null,
    user_id    uuid references users (id),
    -- Tells apart tokens that had the same name one after the other.
    token_id   bigint,
    action     text not null,
    object     text not null,
    before     jsonb,
    after      jsonb,
    request_id text,

    constraint audit_log_action_named check (action ~ '^[a-z_]+\.[a-z_]+$')
);
create index audit_log_by_object on audit_log (object, id);
create index audit_log_by_actor on audit_log (actor, id);
-- Finds any part of an actor, an action or an object.
create index audit_log_search_text on audit_log
    using gin (lower(actor || ' ' || action || ' ' || object) gin_trgm_ops);

create function audit_log_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is append-only';
end $$;

create trigger audit_log_kept
    before update or delete on audit_log
    for each row execute function audit_log_refuse_change();

create trigger audit_log_kept_whole
    before truncate on audit_log
    for each statement execute function audit_log_refuse_change();
