-- Words from which the names of photographed pieces are made, a line for each color and pattern. Null: our own.

alter table settings
    add column piece_words text,
    add constraint settings_piece_words_length check (char_length(piece_words) between 1 and 20000);
