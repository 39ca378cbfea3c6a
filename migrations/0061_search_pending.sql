-- After an import some megabytes of new words waited to be sorted into this index, every search read them from end to end,
-- and PostgreSQL read the whole table instead. From here on some kilobytes wait.

alter index products_search_words set (gin_pending_list_limit = 128);
