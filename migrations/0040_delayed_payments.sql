-- Since when a delayed payment of an order is on its way: it has a customer before it has money.

alter table orders add column processing_since timestamptz;
update orders
set processing_since = checkouts.updated_at
from checkouts
where checkouts.order_id = orders.id
  and checkouts.state = 'processing'
  and orders.status = 'pending';
