-- Pictures: each is kept once, under the hash of its content.

create table pictures (
    id         text collate "C" primary key,
    created_at timestamptz not null default now(),
    constraint pictures_id_is_a_hash check (id ~ '^[0-9a-f]{64}$')
);
