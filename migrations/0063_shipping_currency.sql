-- The currency of the shipping prices that the owner has set. Null: before there was a choice, US dollars.

alter table settings add column shipping_currency text;
