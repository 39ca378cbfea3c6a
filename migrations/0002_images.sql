-- Images. Each is stored once, under the hash of its content. The content is in the media store, not in the database.

create table images (
    id           text collate "C" primary key,
    -- The folder of its objects below `images/`. Never used twice, so a late cleanup cannot remove a newer upload.
    storage_key  text collate "C" not null,
    format       text not null,
    size_bytes   bigint not null,
    width        integer not null,
    height       integer not null,
    -- A blurred preview of about 30 bytes, in base64. Source: https://evanw.github.io/thumbhash/
    thumbhash    text not null,
    -- Null until its renditions are made.
    rendered_at  timestamptz,
    -- When it was last uploaded or seen in use. An image that is unused for a day is deleted.
    last_used_at timestamptz not null default now(),
    created_at   timestamptz not null default now(),

    constraint images_storage_key_key unique (storage_key),
    constraint images_id_is_a_hash check (id ~ '^[0-9a-f]{64}$'),
    constraint images_format_known check (format in ('jpeg', 'png')),
    constraint images_has_content check (size_bytes > 0 and width > 0 and height > 0)
);
create index images_by_last_used_at on images (last_used_at);

-- Deletes an image unless something refers to it. The foreign keys decide, so a new table that uses images needs no change
-- here.
create function delete_unused_image(image text) returns boolean language plpgsql as $$
begin
    delete from images where id = image;
    return found;
exception when foreign_key_violation then
    return false;
end $$;
