-- no-transaction
-- For the figures: rare among many emails.

create index concurrently emails_failed on emails (created_at) where state = 'failed';
