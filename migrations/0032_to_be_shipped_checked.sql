-- Every line keeps the promise, also those from before.

alter table order_lines validate constraint order_lines_restocked_not_shipped;
alter table order_lines validate constraint order_lines_returned_was_shipped;
