-- Intakes: photographs of a table, the pieces found in them, and the products made of those.

create table intakes (
    id            uuid primary key,
    -- What people call it.
    number        bigint not null generated always as identity,
    status        text not null default 'open',
    -- Choices for all of its pieces. Without a lighter type, each has the one that was seen.
    lighter_type  smallint,
    category_id   bigint references categories (id) on delete set null,
    weight_ounces numeric(7, 2) not null default 2.00,
    pieces_each   integer not null default 1,
    -- A piece was found, or changed its side, since fronts and backs were paired.
    needs_pairing boolean not null default false,
    -- Incremented by what a person changes, so that a form that is out of date is refused.
    version       bigint not null default 1,
    created_at    timestamptz not null default now(),
    -- The last change by a person. The photographs are let go some time later.
    changed_at    timestamptz not null default now(),

    constraint intakes_number_key unique (number),
    constraint intakes_status_known check (status in ('open', 'done', 'discarded')),
    constraint intakes_lighter_type_known check (lighter_type in (1, 2)),
    constraint intakes_weight_not_negative check (weight_ounces >= 0),
    constraint intakes_pieces_each_possible check (pieces_each between 0 and 1000000)
);
create index intakes_by_created_at on intakes (created_at);

create table intake_photos (
    id         uuid primary key,
    intake_id  uuid not null references intakes (id) on delete cascade,
    position   integer not null,
    side       text not null,
    -- Name of the file on the sender's machine.
    file_name  text not null,
    -- Null for a file that was refused, and once the photograph was let go.
    image_id   text collate "C" references images (id),
    width      integer,
    height     integer,
    status     text not null default 'waiting',
    -- Runs that ended without an outcome: the process died.
    attempts   smallint not null default 0,
    -- A sentence that tells why no pieces are found in it.
    problem    text,
    -- Sentences about its quality.
    remarks    text[] not null default '{}',

    constraint intake_photos_position_key unique (intake_id, position),
    constraint intake_photos_side_known check (side in ('front', 'back')),
    constraint intake_photos_status_known check (status in ('waiting', 'found', 'failed')),
    constraint intake_photos_failed_has_a_problem check (status <> 'failed' or problem is not null)
);
create unique index intake_photos_once on intake_photos (intake_id, image_id);
create index intake_photos_by_image on intake_photos (image_id);

create table intake_pieces (
    id               uuid primary key,
    intake_id        uuid not null references intakes (id) on delete cascade,
    photo_id         uuid not null references intake_photos (id) on delete cascade,
    -- What people call it.
    number           integer not null,
    side             text not null,
    state            text not null,
    -- Points in pixels of the photograph: [[x, y], …].
    outline          jsonb not null,
    -- Direction of the head, clockwise; 0 is up.
    head_degrees     real not null,
    is_head_doubtful boolean not null,
    lighter_type     smallint,
    -- A person drew it, and its outline is still to be looked for.
    is_searched      boolean not null default true,
    is_drawn         boolean not null default false,
    -- The same piece in another photograph of the side, it seems.
    same_as          uuid references intake_pieces (id) on delete set null,
    -- The staged image. Null until it is made, or made again.
    image_id         text collate "C" references images (id),
    -- Incremented by what changes the staged image.
    revision         integer not null default 1,
    remark           text,
    -- A sentence that tells why it has no staged image.
    problem          text,
    -- What a name is proposed by.
    colors           text[] not null default '{}',
    pattern          text,

    constraint intake_pieces_number_key unique (intake_id, number),
    constraint intake_pieces_side_known check (side in ('front', 'back')),
    constraint intake_pieces_state_known check (state in ('used', 'left_out', 'cut_off')),
    constraint intake_pieces_lighter_type_known check (lighter_type in (1, 2))
);
create index intake_pieces_by_photo on intake_pieces (photo_id);
create index intake_pieces_by_same_as on intake_pieces (same_as);
create index intake_pieces_by_image on intake_pieces (image_id);

-- A front, with all that its product will be made of.
create table intake_items (
    piece_id        uuid primary key references intake_pieces (id) on delete cascade,
    intake_id       uuid not null references intakes (id) on delete cascade,
    back_id         uuid references intake_pieces (id) on delete set null,
    -- A job does not change what a person paired, or decided to have no back.
    is_paired_by_hand boolean not null default false,
    is_sure         boolean not null default false,
    name            text not null default '',
    category_id     bigint references categories (id) on delete set null,
    price           bigint,
    product_id      text collate "C" references products (id),
    -- The product's version when it was made: it is taken back as long as nobody changed it.
    product_version bigint,

    constraint intake_items_back_key unique (back_id),
    constraint intake_items_product_key unique (product_id),
    constraint intake_items_price_positive check (price > 0),
    constraint intake_items_product_has_a_version check ((product_id is null) = (product_version is null))
);
create index intake_items_by_intake on intake_items (intake_id);
