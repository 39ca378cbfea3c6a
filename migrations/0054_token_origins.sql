-- Tokens: who made them, until when they hold, and a name that no other living token has. Tokens made before, and by the
-- previous version, have no key: where two of them share a name they keep it.

alter table api_tokens
    add column expires_at       timestamptz,
    add column created_by       text,
    add column created_by_user  uuid references users (id),
    add column created_by_token bigint references api_tokens (id),
    -- Null once the token is revoked or has expired.
    add column name_key         text,
    add constraint api_tokens_name_key_key unique (name_key);

update api_tokens
set created_by = made.actor,
    created_by_user = made.user_id
from audit_log as made
where made.action = 'token.create'
  and made.object like 'token:' || api_tokens.id || ' %';

-- Names are used again: an entry says which token it was.
alter table audit_log
    add column token_id bigint;
