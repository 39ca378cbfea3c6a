-- A discount on an order, and how a sale by hand was paid.

alter table orders
    add column discount bigint not null default 0,
    add column payment_method text,
    add constraint orders_payment_method_known check (payment_method in ('cash', 'card', 'other')),
    drop constraint orders_amounts_whole,
    add constraint orders_amounts_whole check (
        subtotal >= 0 and discount >= 0 and discount <= subtotal and shipping >= 0 and tax >= 0
        and total = subtotal - discount + shipping + tax);
