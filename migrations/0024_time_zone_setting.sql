-- The owner chooses the time zone in the admin. Null: the value from the environment.

alter table settings
    add column time_zone text,
    add constraint settings_time_zone_length check (char_length(time_zone) between 1 and 100);
