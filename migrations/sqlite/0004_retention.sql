-- Completed purchases that are not kept any more, by machine and product: with them usage counts and stock still add up.
CREATE TABLE forgotten_purchases (
    machine_id BLOB NOT NULL,
    product_id BLOB NOT NULL,
    completed BIGINT NOT NULL,
    PRIMARY KEY (machine_id, product_id)
) WITHOUT ROWID;
