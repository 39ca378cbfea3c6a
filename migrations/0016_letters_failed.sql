-- no-transaction
-- For the figures: rare among many letters.

create index concurrently letters_failed on letters (created_at) where state = 'failed';
