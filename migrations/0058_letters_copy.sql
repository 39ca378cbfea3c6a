-- True while the recipient has the letter and only its copy is still to be delivered: the server put that one off.

alter table letters add column copy_only boolean not null default false;
