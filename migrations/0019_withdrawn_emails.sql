-- Emails about a shipment that was undone: they must not go out any more.

alter table emails
    -- An email that never left the queue is deleted instead. One that the customer has, or may have, is never sent again.
    add column withdrawn_at timestamptz,
    add constraint emails_withdrawn_left_queue check (withdrawn_at is null or state in ('sending', 'sent'));
