-- The owner's own words in emails to customers. Null: the greeting "Hello {name},", and no words.

alter table settings
    add column email_greeting  text,
    add column email_closing   text,
    add column email_signature text,
    add column care_advice     text,
    add constraint settings_email_greeting_length check (char_length(email_greeting) between 1 and 100),
    add constraint settings_email_closing_length check (char_length(email_closing) between 1 and 500),
    add constraint settings_email_signature_length check (char_length(email_signature) between 1 and 200),
    add constraint settings_care_advice_length check (char_length(care_advice) between 1 and 2000);
