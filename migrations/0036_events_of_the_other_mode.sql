-- Events of Stripe's other mode (test or live) than the key's are kept and change nothing.

alter table stripe_events
    drop constraint stripe_events_status_known,
    add constraint stripe_events_status_known check (status in ('received', 'processed', 'ignored', 'failed', 'wrong_mode'))
    not valid;
