-- Orders against central stock. Lines never change, are read with their order alone and are at most 100: JSON beside it,
-- an array of [product_id hex, sku, name, unit price minor, quantity].
CREATE TABLE orders (
    order_id BLOB NOT NULL PRIMARY KEY,
    customer_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    currency TEXT NOT NULL,
    total_minor BIGINT NOT NULL CHECK (total_minor >= 0),
    lines TEXT NOT NULL,
    status BIGINT NOT NULL,
    payment BIGINT NOT NULL,
    gateway_payment_id TEXT NOT NULL DEFAULT '',
    failure BIGINT NOT NULL DEFAULT 0,
    failure_detail TEXT NOT NULL DEFAULT '',
    unsettled BOOLEAN NOT NULL DEFAULT FALSE,
    attempts BIGINT NOT NULL DEFAULT 0,
    -- What a worker has to do: 0 nothing, 1 have it paid, 2 ask what became of the payment, 3 give money back.
    work BIGINT NOT NULL,
    -- When a worker may take it, by the database's clock; while one works on it, the end of its lease. 0: never.
    due_at_ms BIGINT NOT NULL,
    -- Rises with every claim: who holds a lower one has lost its lease.
    fence BIGINT NOT NULL DEFAULT 0,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT NOT NULL DEFAULT 0,
    trace_id TEXT NOT NULL DEFAULT '',
    traceparent TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE UNIQUE INDEX orders_key ON orders (customer_id, idempotency_key);
CREATE INDEX orders_customer ON orders (customer_id, order_id);
CREATE INDEX orders_due ON orders (due_at_ms, order_id) WHERE due_at_ms > 0;
CREATE INDEX orders_unsettled ON orders (order_id) WHERE unsettled;

-- Every definite thing a gateway said that an order's own row does not show by itself: webhooks, late and contradicting
-- answers. One row per (order, payment, status): a repeat is told by it.
CREATE TABLE payment_facts (
    order_id BLOB NOT NULL,
    gateway_payment_id TEXT NOT NULL,
    status BIGINT NOT NULL,
    -- 1 an answer to a worker, 2 a webhook.
    source BIGINT NOT NULL,
    detail TEXT NOT NULL DEFAULT '',
    learnt_at_ms BIGINT NOT NULL,
    PRIMARY KEY (order_id, gateway_payment_id, status)
) WITHOUT ROWID;

-- Work on orders that was set aside. kind: 2 order, 4 payment. state: 1 open, 2 redriving, 3 done.
CREATE TABLE order_dead_letters (
    dead_letter_id BLOB NOT NULL PRIMARY KEY,
    order_id BLOB NOT NULL,
    kind BIGINT NOT NULL,
    state BIGINT NOT NULL DEFAULT 1,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    redrives BIGINT NOT NULL DEFAULT 0,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL DEFAULT 0,
    trace_id TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE UNIQUE INDEX order_dead_letters_order ON order_dead_letters (order_id, kind);

-- What an event is about besides a machine, and whose; body is what its kind needs, JSON.
ALTER TABLE events ADD COLUMN subject BLOB;
ALTER TABLE events ADD COLUMN customer_id TEXT;
ALTER TABLE events ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';

-- The shard of orders, central stock and alerts about no machine.
INSERT INTO event_heads (shard, position) VALUES (1, 0);

-- Who does a thing that only one replica may do at a time, and how far it is.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    fence BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    state TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
