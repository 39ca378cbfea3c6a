-- A shipment that was recorded by mistake is removed: its pieces were not shipped.

create function order_lines_unship() returns trigger language plpgsql as $$
begin
    -- Pieces that came back meanwhile had never left: they are in stock, and not to be shipped (P1).
    update order_lines
    set restocked = restocked + returned, returned = 0, shipped = 0
    where order_id = old.order_id;
    return null;
end $$;

create trigger shipments_unshipped
    after delete on shipments
    for each row execute function order_lines_unship();
