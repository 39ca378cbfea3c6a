-- True while the recipient has the email and only its copy is still to be delivered: the server put that one off.

alter table emails add column copy_only boolean not null default false;
