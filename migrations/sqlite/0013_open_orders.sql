-- Units of stock that an order holds while it is PENDING or PROCESSING; 0 once it has ended. An order that was open before this
-- counts for one.
ALTER TABLE orders ADD COLUMN open_units BIGINT NOT NULL DEFAULT 0;
UPDATE orders SET open_units = 1 WHERE status IN (1, 2);
CREATE INDEX orders_open ON orders (customer_id, open_units) WHERE open_units > 0;
