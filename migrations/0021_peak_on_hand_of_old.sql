-- What the ledger knows of products from before. They are locked in the order of their ids, as the shop does.

with locked as materialized (
    select id from products order by id for no key update
)
update products
set peak_on_hand = greatest(products.peak_on_hand, products.on_hand, ledger.most)
from (select product_id, max(on_hand) as most
      from (select product_id, sum(delta) over (partition by product_id order by id) as on_hand
            from stock_movements) running
      group by product_id) ledger
    join locked on locked.id = ledger.product_id
where ledger.product_id = products.id
  and products.peak_on_hand < greatest(products.on_hand, ledger.most);
