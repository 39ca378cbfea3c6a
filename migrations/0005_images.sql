-- Images: each is kept once, under the hash of its content. The content lies in the media store, not here.

create table images (
    id          text collate "C" primary key,
    -- The folder of its objects below `images/`. Never used twice: what is removed late takes nothing new along.
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
    last_used_at  timestamptz not null default now(),
    created_at  timestamptz not null default now(),
    constraint images_id_is_a_hash check (id ~ '^[0-9a-f]{64}$'),
    constraint images_storage_key_key unique (storage_key),
    constraint images_format_known check (format in ('jpeg', 'png')),
    constraint images_has_content check (size_bytes > 0 and width > 0 and height > 0)
);
create index images_by_last_used_at on images (last_used_at);

-- Deletes an image unless something refers to it, which the foreign keys know, whatever tables there are.
create function delete_unused_image(image text) returns boolean language plpgsql as $$
begin
    delete from images where id = image;
    return found;
exception when foreign_key_violation then
    return false;
end $$;

create table product_images (
    product_id text collate "C" not null references products (id) on delete cascade,
    position   smallint not null,
    image_id text collate "C" not null references images (id),
    primary key (product_id, position),
    constraint product_images_once unique (product_id, image_id),
    constraint product_images_at_most_ten check (position between 0 and 9)
);
create index product_images_by_image on product_images (image_id);

-- An order line keeps its image as it keeps its name and price, when the product has long got another.
alter table order_lines
    add column image_id text collate "C"
        generated always as (substring(image from '^/media/images/([0-9a-f]{64})/')) stored,
    add constraint order_lines_image_fkey foreign key (image_id) references images (id);
create index order_lines_by_image on order_lines (image_id) where image_id is not null;
