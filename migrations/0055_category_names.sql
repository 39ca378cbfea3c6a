-- No two categories with one name, whatever its case and accents. Categories named before, and by the previous version,
-- have no key: where two of them share a name they keep it.

alter table categories
    add column name_key text,
    add constraint categories_name_key_key unique (name_key);
