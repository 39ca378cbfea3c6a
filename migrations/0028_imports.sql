-- Imports from the shop that this one replaces. They are repeated until the switch, so they have to know what changed
-- there and here since the last one.

create table import_rows (
    kind    text not null,
    -- The old shop's id.
    id      text collate "C" not null,
    -- Our id, where it is another.
    made_id text collate "C",
    -- Hash of what the old shop's row was to become.
    wanted  text not null,
    -- Hash of our row as the import left it.
    made    text not null,
    -- Pieces of a product in the old shop: the stock follows their difference.
    stock   integer,
    -- Status of an order in the old shop, in our words.
    status  text,
    primary key (kind, id),

    constraint import_rows_kind_known check (kind in ('category', 'user', 'product', 'order', 'custom_order'))
);

-- Images by the hashes of the files that they were made of, so that a file is decoded once.
create table import_images (
    file_sha256 text primary key,
    image_id    text collate "C" not null references images (id) on delete cascade,

    constraint import_images_file_is_a_hash check (file_sha256 ~ '^[0-9a-f]{64}$')
);
create index import_images_by_image on import_images (image_id);
