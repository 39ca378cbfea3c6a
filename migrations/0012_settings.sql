-- Settings that the owner may change while the shop runs. Null: the value from the environment.

create table settings (
    singleton              boolean primary key default true,
    version                integer not null default 0,
    shop_name              text,
    quote_valid_days       integer,
    -- A product with so few pieces left is reported as low in stock.
    low_stock              integer,
    -- Each: the price in cents, the fewest and the most business days.
    shipping_us            bigint[],
    shipping_north_america bigint[],
    shipping_international bigint[],
    -- The currency of these prices. Null: US dollars.
    shipping_currency      text,

    constraint settings_singleton check (singleton),
    constraint settings_shop_name_length check (char_length(shop_name) between 1 and 100),
    constraint settings_quote_valid_days_range check (quote_valid_days between 1 and 365),
    constraint settings_low_stock_range check (low_stock between 0 and 1000),
    constraint settings_shipping_us_whole check (cardinality(shipping_us) = 3),
    constraint settings_shipping_north_america_whole check (cardinality(shipping_north_america) = 3),
    constraint settings_shipping_international_whole check (cardinality(shipping_international) = 3)
);

insert into settings default values;
