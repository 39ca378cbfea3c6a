-- A custom order whose payment was refunded in full is over.

alter table custom_orders
    drop constraint custom_orders_status_known,
    add constraint custom_orders_status_known check (status in
        ('pending', 'approved', 'rejected', 'expired', 'paid', 'in_production', 'shipped', 'completed', 'refunded')),
    drop constraint custom_orders_paid_has_order,
    add constraint custom_orders_paid_has_order check
        ((order_id is not null) = (status in ('paid', 'in_production', 'shipped', 'completed', 'refunded')));
