-- Jobs: the living workers. The queue itself is in the schema graphile_worker, which that library makes and upgrades.

create table worker_heartbeats (
    worker       uuid primary key,
    last_seen_at timestamptz not null default now()
);
