-- When an event's payload lost what it said of people.

alter table stripe_events
    add column redacted_at timestamptz;
