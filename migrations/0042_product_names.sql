-- no-transaction
-- Names have up to 255 characters, as the old service's had. The former bound falls first and the rows are checked last:
-- neither holds up who reads or writes.

alter table products drop constraint if exists products_name_length;
alter table products
    add constraint products_name_length check (char_length(name) between 1 and 255) not valid;
alter table products validate constraint products_name_length;
