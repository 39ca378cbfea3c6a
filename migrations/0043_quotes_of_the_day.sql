-- Emails sent so far named the day by UTC's calendar, and from here on a quote ends with a day of the shop's. West of
-- Greenwich that may be the day before: whoever has such an email can pay a day longer, and no promise is broken.

update custom_order_quotes
set valid_until = valid_until + interval '1 day'
where state = 'live';
