-- Lines of orders that were shipped before there was a number for it. What came back of them is taken for returned: when
-- it came back, nobody knows any more. In-person sales are delivered at once, also those from before.

with locked as materialized (
    select l.order_id, l.position
    from order_lines l
    join orders o on o.id = l.order_id
    where o.status in ('shipped', 'delivered')
       or (o.channel = 'manual' and o.paid_at is not null)
       or exists (select from shipments p where p.order_id = o.id)
    order by l.order_id, l.position
    for no key update of l
)
update order_lines
set shipped = quantity, returned = restocked, restocked = 0
from locked
where order_lines.order_id = locked.order_id
  and order_lines.position = locked.position
  and order_lines.shipped = 0;

with over as (
    update orders
    set status = 'delivered', updated_at = now()
    where channel = 'manual'
      and status = 'paid'
    returning id
)
insert into order_events (order_id, kind, from_status, to_status, actor, note)
select over.id, 'status', step.from_status, step.to_status, 'system', 'sold in person: handed over at the sale'
from over
cross join (values (1, 'paid', 'shipped'), (2, 'shipped', 'delivered')) as step (place, from_status, to_status)
order by over.id, step.place;
