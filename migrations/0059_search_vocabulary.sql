-- The words of all products, as `search_words` has them. A misspelt word is compared with these thousands of short words,
-- and not with ten thousand descriptions.

create table search_vocabulary (
    -- Not unique: two transactions that bring a new word at once would wait for one another, and could lock each other
    -- out. A word twice, or one that no product has any more, does no harm.
    word text collate "C" not null
);
create index search_vocabulary_word on search_vocabulary (word);
-- Written at once: new words are rare, and a list of pending ones is read by every search.
create index search_vocabulary_alike on search_vocabulary using gin (word gin_trgm_ops) with (fastupdate = off);

-- Each word is looked up in the index: a plan that was made while the table was small would read it from end to end.
create function products_add_vocabulary() returns trigger language plpgsql set enable_seqscan = off as $$
begin
    insert into search_vocabulary (word)
    select new_words.word
    from unnest(tsvector_to_array(new.search_words)) as new_words (word)
    where (select v.word from search_vocabulary v where v.word = new_words.word limit 1) is null;
    return null;
end $$;

create trigger products_vocabulary
    after insert or update of name, description, category_id on products
    for each row execute function products_add_vocabulary();
