-- What searches share: trigrams, and one way to fold text.

create extension if not exists pg_trgm;

-- Folds text for searches: lower case without accents, whichever Unicode form it was typed in. Plain SQL and no extension
-- (such as unaccent), because indexes use it: everything that an index needs has to exist when a dump is restored.
create function search_fold(text) returns text language sql immutable strict parallel safe as $$
    select replace(replace(replace(replace(replace(lower(translate(
        regexp_replace(normalize($1, nfkd), '[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff]', '', 'g'),
        'øØłŁđĐðÐħĦıŧŦ', 'oollddddhhitt')), 'ß', 'ss'), 'æ', 'ae'), 'Æ', 'ae'), 'œ', 'oe'), 'Œ', 'oe')
$$;
