-- A machine's part in remote purchases; made with the machine. Its row is locked after machine_sync and before all else.
CREATE TABLE pool (
    machine_id BYTEA NOT NULL PRIMARY KEY,
    kind BIGINT NOT NULL,
    -- 1 idle, 2 choose_product, 3 processing, 4 in doubt, 5 resting, 6 archived.
    state BIGINT NOT NULL,
    -- The session it is in.
    session_id BYTEA,
    -- The purchase that holds it: under way or in doubt.
    purchase_id BYTEA,
    usage_count BIGINT NOT NULL DEFAULT 0,
    last_picked_ms BIGINT NOT NULL DEFAULT 0,
    failures BIGINT NOT NULL DEFAULT 0,
    -- When it is free by itself, by the database's clock: 0 it is free, the end of a lease or of a rest; 9223372036854775807:
    -- not by itself.
    free_at_ms BIGINT NOT NULL,
    -- A real machine's connection is believed until then, by the database's clock.
    connected_until_ms BIGINT NOT NULL DEFAULT 0,
    -- Whether a real machine could carry out a purchase when it last spoke: current, in service, with a config.
    fit BOOLEAN NOT NULL DEFAULT FALSE,
    -- Rises with every session.
    fence BIGINT NOT NULL DEFAULT 0,
    group_name TEXT NOT NULL DEFAULT '',
    delay_ms BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX pool_idle ON pool (usage_count, last_picked_ms, machine_id) WHERE free_at_ms = 0 AND (kind = 1 OR fit);
CREATE INDEX pool_freed ON pool (free_at_ms) WHERE free_at_ms > 0 AND free_at_ms < 9223372036854775807;

INSERT INTO pool (machine_id, kind, state, free_at_ms, group_name, delay_ms)
SELECT machine_id, kind, CASE WHEN archived_at_ms > 0 THEN 6 ELSE 1 END,
    CASE WHEN archived_at_ms > 0 THEN 9223372036854775807 ELSE 0 END, group_name, virtual_delay_ms
FROM machines;

-- One customer on one machine. (caller, request_id) makes StartWork safe to repeat.
CREATE TABLE sessions (
    session_id BYTEA NOT NULL PRIMARY KEY,
    machine_id BYTEA NOT NULL,
    customer_id TEXT NOT NULL,
    -- 1 choose_product, 2 processing, 3 completed, 4 failed, 5 expired, 6 reset.
    state BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    purchase_id BYTEA,
    caller TEXT NOT NULL,
    request_id BYTEA NOT NULL,
    fingerprint BYTEA NOT NULL,
    created_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT NOT NULL DEFAULT 0,
    trace_id TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX sessions_request ON sessions (caller, request_id);

-- One unit of one product, bought on a machine. The row is its job too.
CREATE TABLE purchases (
    purchase_id BYTEA NOT NULL PRIMARY KEY,
    session_id BYTEA NOT NULL,
    machine_id BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    customer_id TEXT NOT NULL,
    product_id BYTEA NOT NULL,
    slot BIGINT NOT NULL DEFAULT 0,
    currency TEXT NOT NULL,
    price_minor BIGINT NOT NULL CHECK (price_minor >= 0),
    -- 1 none, 2 gateway.
    mode BIGINT NOT NULL,
    payment BIGINT NOT NULL,
    gateway_payment_id TEXT NOT NULL DEFAULT '',
    -- 1 reserved, 2 authorising, 3 dispensing, 4 in doubt, 5 capturing, 6 voiding, 7 completed, 8 failed.
    state BIGINT NOT NULL,
    failure BIGINT NOT NULL DEFAULT 0,
    failure_detail TEXT NOT NULL DEFAULT '',
    -- Whether it holds a unit: of central stock on a virtual machine, of its slot's reservation on a real one.
    holds_unit BOOLEAN NOT NULL,
    -- Whether its session is still the machine's: an end after a reset frees nobody and counts nothing.
    holds_machine BOOLEAN NOT NULL,
    command_number BIGINT NOT NULL DEFAULT 0,
    -- The machine has said what became of the command, and nobody has looked yet.
    heard BOOLEAN NOT NULL DEFAULT FALSE,
    reservation_end_ms BIGINT NOT NULL DEFAULT 0,
    -- 0 nothing, 1 authorise, 2 dispense, 3 capture, 4 void.
    work BIGINT NOT NULL,
    due_at_ms BIGINT NOT NULL,
    fence BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    caller TEXT NOT NULL,
    request_id BYTEA NOT NULL,
    fingerprint BYTEA NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT NOT NULL DEFAULT 0,
    trace_id TEXT NOT NULL DEFAULT '',
    traceparent TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX purchases_request ON purchases (caller, request_id);
CREATE INDEX purchases_due ON purchases (due_at_ms, purchase_id) WHERE due_at_ms > 0;

-- Money of purchases that could not be settled. state: 1 open, 2 redriving, 3 done.
CREATE TABLE purchase_dead_letters (
    dead_letter_id BYTEA NOT NULL PRIMARY KEY,
    purchase_id BYTEA NOT NULL,
    state BIGINT NOT NULL DEFAULT 1,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    redrives BIGINT NOT NULL DEFAULT 0,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL DEFAULT 0,
    trace_id TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX purchase_dead_letters_purchase ON purchase_dead_letters (purchase_id);

-- Numbered commands. A number is given once per machine and never again.
CREATE TABLE commands (
    machine_id BYTEA NOT NULL,
    number BIGINT NOT NULL,
    -- 1 pending, 2 handed out, 3 done, 4 refused, 5 expired, 6 in doubt.
    state BIGINT NOT NULL,
    epoch BYTEA NOT NULL,
    boot_id BYTEA,
    expires_uptime_ms BIGINT NOT NULL DEFAULT 0,
    -- 1 dispense, 2 out of service, 3 return to service.
    kind BIGINT NOT NULL,
    purchase_id BYTEA,
    slot BIGINT NOT NULL DEFAULT 0,
    product_id BYTEA,
    price_minor BIGINT NOT NULL DEFAULT 0,
    currency TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    refusal_reason TEXT NOT NULL DEFAULT '',
    result_seq BIGINT NOT NULL DEFAULT 0,
    sent_by TEXT NOT NULL DEFAULT '',
    created_at_ms BIGINT NOT NULL,
    handed_out_at_ms BIGINT NOT NULL DEFAULT 0,
    expires_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (machine_id, number)
);
CREATE INDEX commands_open ON commands (machine_id, number) WHERE state = 1 OR state = 2 OR state = 6;
CREATE INDEX commands_newest ON commands (created_at_ms, machine_id, number);

-- The last number given, and whether any may be handed out: a machine without one is spared a look for them.
ALTER TABLE machine_sync ADD COLUMN command_number BIGINT NOT NULL DEFAULT 0;
ALTER TABLE machine_sync ADD COLUMN has_commands BOOLEAN NOT NULL DEFAULT FALSE;
-- As the machine last said of itself: not selling; its clock against the server's, and how far it can be believed (1 free
-- running, 2 synced).
ALTER TABLE machine_sync ADD COLUMN out_of_service BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE machine_sync ADD COLUMN clock_offset_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE machine_sync ADD COLUMN clock_quality BIGINT NOT NULL DEFAULT 0;

-- No number is given that a device has already heard.
UPDATE machine_sync SET command_number = commands_done_through;
UPDATE pool SET fit = TRUE WHERE kind = 2 AND machine_id IN
    (SELECT machine_id FROM machine_sync WHERE standing = 1 AND applied_config IS NOT NULL);

ALTER TABLE pool SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
