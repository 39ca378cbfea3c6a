-- Backups that were finished: each is one file, with the database and the images.

create table backups (
    id            bigint primary key generated always as identity,
    finished_at   timestamptz not null default now(),
    size_bytes    bigint not null,
    images        integer not null,
    -- Images that are in the database and not, or damaged, in the media store.
    faulty_images integer not null
);
create index backups_by_finished_at on backups (finished_at);
