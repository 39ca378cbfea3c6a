-- What the ledger knows of products from before.

update products
set most_on_hand = greatest(products.most_on_hand, products.on_hand, ledger.most)
from (select product_id, max(on_hand) as most
      from (select product_id, sum(delta) over (partition by product_id order by id) as on_hand
            from stock_movements) running
      group by product_id) ledger
where ledger.product_id = products.id
  and products.most_on_hand < greatest(products.on_hand, ledger.most);
