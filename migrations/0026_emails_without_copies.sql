-- The shop gets emails of its own instead of copies of its customers' emails. An email whose copy alone was still to be
-- delivered is sent.
--
-- A previous version that still runs may put off a copy. This version knows no copies, and would send such an email to its
-- customer again. The columns `copy_to` and `copy_only`, which nothing else reads now, go in a later version.

update emails
set state = 'sent',
    copy_only = false
where copy_only;

create function emails_copy_is_over() returns trigger
    language plpgsql
as $$
begin
    new.state := 'sent';
    new.copy_only := false;
    return new;
end
$$;

create trigger emails_copy_is_over
    before update of copy_only on emails
    for each row
    when (new.copy_only)
execute function emails_copy_is_over();
