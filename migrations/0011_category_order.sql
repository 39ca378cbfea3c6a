-- The owner's order of the categories: 0 for all until somebody puts them in order, then from 1. (A constant default
-- rewrites no table, and a version that does not know the column still inserts.)

alter table categories
    add column position integer not null default 0,
    add constraint categories_position_not_negative check (position >= 0);
