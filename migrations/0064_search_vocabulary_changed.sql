-- An import writes every column of a product, and each time its words were looked up one by one in the vocabulary, though
-- mostly just its price had changed.

drop trigger products_vocabulary on products;

create trigger products_vocabulary
    after insert on products
    for each row execute function products_add_vocabulary();

create trigger products_vocabulary_changed
    after update of name, description, category_id on products
    for each row when (old.search_words is distinct from new.search_words)
    execute function products_add_vocabulary();
