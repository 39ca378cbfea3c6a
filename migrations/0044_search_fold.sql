-- Text as it is searched: small letters without accents, whatever form they were written in. In SQL alone, because an
-- index holds it; without an extension, because what an index needs has to be there when a dump is restored.

create function search_fold(text) returns text language sql immutable strict parallel safe as $$
    select replace(replace(replace(replace(replace(lower(translate(
        regexp_replace(normalize($1, nfkd), '[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff]', '', 'g'),
        'øØłŁđĐðÐħĦıŧŦ', 'oollddddhhitt')), 'ß', 'ss'), 'æ', 'ae'), 'Æ', 'ae'), 'œ', 'oe'), 'Œ', 'oe')
$$;

create or replace function products_set_search() returns trigger language plpgsql as $$
declare
    category text := coalesce((select c.name from categories c where c.id = new.category_id), '');
begin
    new.search_words :=
        setweight(to_tsvector('english', search_fold(new.name)), 'A')
        || setweight(to_tsvector('english', search_fold(category)), 'B')
        || setweight(to_tsvector('english', search_fold(new.description)), 'C');
    new.search_text := search_fold(new.name || ' ' || category || ' ' || new.description);
    return new;
end $$;

-- Products are locked in the order of their ids, as the shop does. Only those with an email beyond ASCII change.
with locked as materialized (
    select id from products where octet_length(search_text) <> char_length(search_text) order by id for no key update
)
update products
set name = name
from locked
where locked.id = products.id;
