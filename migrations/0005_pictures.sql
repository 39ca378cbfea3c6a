-- Pictures: each is kept once, under the hash of its content. The content lies in the media store, not here.

create table pictures (
    id          text collate "C" primary key,
    -- The folder of its objects below `pictures/`. Never used twice: what is removed late takes nothing new along.
    storage_key text collate "C" not null,
    format      text not null,
    size_bytes  bigint not null,
    width       integer not null,
    height      integer not null,
    -- A blurred likeness in some 30 bytes, base64. Source: https://evanw.github.io/thumbhash/
    thumbhash   text not null,
    -- Null until its renditions are made.
    rendered_at timestamptz,
    -- When it was last uploaded, or seen in use. What nobody uses a day later is swept.
    touched_at  timestamptz not null default now(),
    created_at  timestamptz not null default now(),
    constraint pictures_id_is_a_hash check (id ~ '^[0-9a-f]{64}$'),
    constraint pictures_storage_key_key unique (storage_key),
    constraint pictures_format_known check (format in ('jpeg', 'png')),
    constraint pictures_has_content check (size_bytes > 0 and width > 0 and height > 0)
);
create index pictures_by_touched_at on pictures (touched_at);

-- Deletes a picture unless something refers to it, which the foreign keys know, whatever tables there are.
create function delete_unused_picture(picture text) returns boolean language plpgsql as $$
begin
    delete from pictures where id = picture;
    return found;
exception when foreign_key_violation then
    return false;
end $$;

create table product_pictures (
    product_id text collate "C" not null references products (id) on delete cascade,
    position   smallint not null,
    picture_id text collate "C" not null references pictures (id),
    primary key (product_id, position),
    constraint product_pictures_once unique (product_id, picture_id),
    constraint product_pictures_at_most_ten check (position between 0 and 9)
);
create index product_pictures_by_picture on product_pictures (picture_id);

-- An order line keeps its picture as it keeps its name and price, when the product has long got another.
alter table order_lines
    add column picture_id text collate "C"
        generated always as (substring(image from '^/media/pictures/([0-9a-f]{64})/')) stored,
    add constraint order_lines_picture_fkey foreign key (picture_id) references pictures (id);
create index order_lines_by_picture on order_lines (picture_id) where picture_id is not null;
