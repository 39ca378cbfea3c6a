-- Background of staged images, as #F4F1ED. Null: our own.

alter table settings
    add column stage_background text,
    add constraint settings_stage_background_is_a_color check (stage_background ~ '^#[0-9A-F]{6}$');
