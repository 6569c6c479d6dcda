-- Ids are 16 bytes, hashes 32. Times are milliseconds since the Unix epoch; 0 means "not (yet)" where a column allows it.
-- machine_id leads every key of a machine's tables, so that they can be distributed by it. Hot tables carry no foreign
-- keys: the machine's row in machine_sync is locked before anything of it is written.

-- One row: which life of the data this is. A restore makes a new one.
CREATE TABLE server_meta (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    incarnation BLOB NOT NULL,
    incarnation_since_ms BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

-- What operators say of a machine.
CREATE TABLE machines (
    machine_id BLOB NOT NULL PRIMARY KEY,
    kind BIGINT NOT NULL,
    name TEXT NOT NULL,
    location TEXT NOT NULL DEFAULT '',
    group_name TEXT NOT NULL DEFAULT '',
    serial TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '',
    virtual_delay_ms BIGINT NOT NULL DEFAULT 0 CHECK (virtual_delay_ms >= 0),
    version BIGINT NOT NULL DEFAULT 1,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    archived_at_ms BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE UNIQUE INDEX machines_serial ON machines (serial) WHERE serial <> '' AND archived_at_ms = 0;
CREATE INDEX machines_group ON machines (group_name, machine_id);

CREATE TABLE machine_tags (
    machine_id BLOB NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (machine_id, tag)
) WITHOUT ROWID;
CREATE INDEX machine_tags_tag ON machine_tags (tag, machine_id);

-- What a group's machines get, now and when they move in.
CREATE TABLE group_configs (
    group_name TEXT NOT NULL PRIMARY KEY,
    config_id BLOB NOT NULL,
    assigned_at_ms BIGINT NOT NULL
) WITHOUT ROWID;

-- The hot row of a machine, made with the machine and locked before anything else of it.
CREATE TABLE machine_sync (
    machine_id BLOB NOT NULL PRIMARY KEY,
    standing BIGINT NOT NULL DEFAULT 1,
    current_epoch BLOB,
    verdict_number BIGINT NOT NULL DEFAULT 0,
    verdicts_seen BIGINT NOT NULL DEFAULT 0,
    desired_number BIGINT NOT NULL DEFAULT 0,
    desired_config BLOB,
    applied_number BIGINT NOT NULL DEFAULT 0,
    applied_config BLOB,
    rejected_number BIGINT NOT NULL DEFAULT 0,
    commands_done_through BIGINT NOT NULL DEFAULT 0,
    last_boot BLOB,
    last_uptime_ms BIGINT NOT NULL DEFAULT 0,
    last_contact_ms BIGINT NOT NULL DEFAULT 0,
    sync_count BIGINT NOT NULL DEFAULT 0,
    firmware TEXT NOT NULL DEFAULT '',
    -- The epoch of the last call, and the last seq the device said it had allotted in it.
    spoke_epoch BLOB,
    spoke_last_seq BIGINT NOT NULL DEFAULT 0,
    -- Set with the first branch and never cleared: a machine without one is spared a look for them.
    has_branches BOOLEAN NOT NULL DEFAULT FALSE
) WITHOUT ROWID;

-- Marks of each journal, kept for ever.
CREATE TABLE epochs (
    machine_id BLOB NOT NULL,
    epoch BLOB NOT NULL,
    ordinal BIGINT NOT NULL,
    status BIGINT NOT NULL,
    parent BLOB,
    parent_last_common BIGINT NOT NULL,
    parent_highest BIGINT NOT NULL,
    reason BIGINT NOT NULL,
    accepted_through BIGINT NOT NULL,
    durable_through BIGINT NOT NULL,
    last_hash BLOB,
    -- Totals, packed: see store/sync/totals.rs.
    opening BLOB,
    expected BLOB,
    expected_currency TEXT NOT NULL,
    diverged_seq BIGINT NOT NULL,
    opened_at_ms BIGINT NOT NULL,
    replaced_at_ms BIGINT NOT NULL,
    spoke_at_ms BIGINT NOT NULL,
    moved_to BLOB,
    PRIMARY KEY (machine_id, epoch)
) WITHOUT ROWID;

-- Main chains, byte for byte as received.
CREATE TABLE records (
    machine_id BLOB NOT NULL,
    epoch BLOB NOT NULL,
    seq BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    schema_no BIGINT NOT NULL,
    body BLOB NOT NULL,
    hash BLOB NOT NULL,
    -- Set when it counts and belongs to a sale.
    transaction_id BLOB,
    disposition BIGINT NOT NULL,
    received_at_ms BIGINT NOT NULL,
    earliest_ms BIGINT NOT NULL,
    latest_ms BIGINT NOT NULL,
    PRIMARY KEY (machine_id, epoch, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX records_counted ON records (machine_id, transaction_id, kind) WHERE transaction_id IS NOT NULL;

-- Records that could not be applied; the raw row is in records.
CREATE TABLE dead_letters (
    machine_id BLOB NOT NULL,
    epoch BLOB NOT NULL,
    seq BIGINT NOT NULL,
    dead_letter_id BLOB NOT NULL,
    -- 1 open, 2 redriving, 3 done.
    state BIGINT NOT NULL DEFAULT 1,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    redrives BIGINT NOT NULL DEFAULT 0,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL DEFAULT 0,
    trace_id TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (machine_id, epoch, seq)
) WITHOUT ROWID;
CREATE INDEX dead_letters_id ON dead_letters (dead_letter_id);

-- Chains stored apart.
CREATE TABLE branches (
    machine_id BLOB NOT NULL,
    epoch BLOB NOT NULL,
    first_hash BLOB NOT NULL,
    branch_id BLOB NOT NULL,
    first_seq BIGINT NOT NULL,
    root_hash BLOB NOT NULL,
    last_seq BIGINT NOT NULL,
    last_hash BLOB NOT NULL,
    reason BIGINT NOT NULL,
    -- 1 held, 2 adopted, 3 discarded.
    state BIGINT NOT NULL,
    opened_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    -- The credential its first record came with.
    credential_id BLOB NOT NULL,
    -- Successful vends in it and their worth, minor units of currency.
    vends BIGINT NOT NULL,
    vends_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    ended_at_ms BIGINT NOT NULL DEFAULT 0,
    ended_by TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    applied_records BIGINT NOT NULL DEFAULT 0,
    dead_lettered_records BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (machine_id, epoch, first_hash)
) WITHOUT ROWID;
CREATE INDEX branches_id ON branches (branch_id);

CREATE TABLE quarantined_records (
    machine_id BLOB NOT NULL,
    epoch BLOB NOT NULL,
    first_hash BLOB NOT NULL,
    seq BIGINT NOT NULL,
    kind BIGINT NOT NULL,
    schema_no BIGINT NOT NULL,
    body BLOB NOT NULL,
    hash BLOB NOT NULL,
    received_at_ms BIGINT NOT NULL,
    earliest_ms BIGINT NOT NULL,
    latest_ms BIGINT NOT NULL,
    PRIMARY KEY (machine_id, epoch, first_hash, seq)
) WITHOUT ROWID;

-- Records nobody can deliver any more, named. Kept for ever.
CREATE TABLE gaps (
    machine_id BLOB NOT NULL,
    epoch BLOB NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    gap_id BLOB NOT NULL,
    reason BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (machine_id, epoch, first_seq)
) WITHOUT ROWID;
CREATE INDEX gaps_id ON gaps (gap_id);

-- What a device has to be told about its records until it echoes it; then the row goes.
CREATE TABLE verdicts (
    machine_id BLOB NOT NULL,
    number BIGINT NOT NULL,
    epoch BLOB NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    disposition BIGINT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (machine_id, number)
) WITHOUT ROWID;

-- A slot's three numbers. None overwrites another.
CREATE TABLE slots (
    machine_id BLOB NOT NULL,
    slot BIGINT NOT NULL,
    product BLOB,
    derived BIGINT NOT NULL,
    derived_seq BIGINT NOT NULL,
    reported_product BLOB,
    reported BIGINT,
    reported_seq BIGINT NOT NULL,
    faulted BOOLEAN NOT NULL,
    epoch BLOB NOT NULL,
    agreed_seq BIGINT NOT NULL,
    drift_seq BIGINT NOT NULL,
    reserved BIGINT NOT NULL CHECK (reserved >= 0),
    PRIMARY KEY (machine_id, slot)
) WITHOUT ROWID;
CREATE INDEX slots_drift ON slots (machine_id, slot) WHERE drift_seq > 0;

-- Configs never change: a new price is a new config.
CREATE TABLE configs (
    config_id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    body BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    created_by TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

-- Every assignment a machine ever got, and what it did with it. Kept for ever: numbers only rise.
CREATE TABLE assignments (
    machine_id BLOB NOT NULL,
    number BIGINT NOT NULL,
    config_id BLOB NOT NULL,
    cause BIGINT NOT NULL,
    assigned_at_ms BIGINT NOT NULL,
    applied_at_ms BIGINT NOT NULL DEFAULT 0,
    refused_at_ms BIGINT NOT NULL DEFAULT 0,
    refusals TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (machine_id, number)
) WITHOUT ROWID;

CREATE TABLE claim_tokens (
    claim_token_id BLOB NOT NULL PRIMARY KEY,
    token_hash BLOB NOT NULL,
    machine_id BLOB,
    serial TEXT NOT NULL DEFAULT '',
    name TEXT NOT NULL DEFAULT '',
    group_name TEXT NOT NULL DEFAULT '',
    created_by TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    used_at_ms BIGINT NOT NULL DEFAULT 0,
    credential_id BLOB,
    revoked_at_ms BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE UNIQUE INDEX claim_tokens_hash ON claim_tokens (token_hash);

CREATE TABLE credentials (
    credential_id BLOB NOT NULL PRIMARY KEY,
    machine_id BLOB NOT NULL,
    secret_hash BLOB NOT NULL,
    -- 1 active, 2 upload-only, 3 revoked.
    state BIGINT NOT NULL,
    claim_token_id BLOB NOT NULL,
    certificate_sha256 BLOB,
    certificate_serial TEXT NOT NULL DEFAULT '',
    certificate_der BLOB NOT NULL,
    certificate_expires_ms BIGINT NOT NULL DEFAULT 0,
    serial TEXT NOT NULL DEFAULT '',
    created_at_ms BIGINT NOT NULL,
    last_used_ms BIGINT NOT NULL DEFAULT 0,
    revoked_at_ms BIGINT NOT NULL DEFAULT 0,
    drain_until_ms BIGINT NOT NULL DEFAULT 0,
    unsent_epoch BLOB,
    unsent_last_seq BIGINT NOT NULL DEFAULT 0,
    unsent_received_through BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX credentials_machine ON credentials (machine_id, credential_id);

-- machine_id is all zero for an alert about no machine.
CREATE TABLE alerts (
    machine_id BLOB NOT NULL,
    alert_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    alert_key TEXT NOT NULL,
    detail TEXT NOT NULL,
    epoch BLOB,
    seq BIGINT NOT NULL DEFAULT 0,
    product_id BLOB,
    order_id BLOB,
    purchase_id BLOB,
    occurrences BIGINT NOT NULL DEFAULT 1,
    created_at_ms BIGINT NOT NULL,
    last_at_ms BIGINT NOT NULL,
    acknowledged_by TEXT NOT NULL DEFAULT '',
    acknowledged_at_ms BIGINT NOT NULL DEFAULT 0,
    resolved_by TEXT NOT NULL DEFAULT '',
    resolved_at_ms BIGINT NOT NULL DEFAULT 0,
    note TEXT NOT NULL DEFAULT '',
    trace_id TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (machine_id, alert_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX alerts_open ON alerts (machine_id, kind, alert_key) WHERE resolved_at_ms = 0;
CREATE INDEX alerts_id ON alerts (alert_id);

CREATE TABLE products (
    product_id BLOB NOT NULL PRIMARY KEY,
    sku TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    currency TEXT NOT NULL,
    price_minor BIGINT NOT NULL CHECK (price_minor BETWEEN 0 AND 1000000000000),
    -- No upper bound here: what an order gives back must always fit. AdjustStock has one.
    stock BIGINT NOT NULL CHECK (stock >= 0),
    low_stock_threshold BIGINT NOT NULL DEFAULT 0,
    version BIGINT NOT NULL DEFAULT 1,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    archived_at_ms BIGINT NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE UNIQUE INDEX products_sku ON products (sku) WHERE archived_at_ms = 0;

CREATE TABLE stock_adjustments (
    product_id BLOB NOT NULL REFERENCES products (product_id),
    adjustment_id BLOB NOT NULL,
    delta BIGINT NOT NULL CHECK (delta <> 0),
    stock_after BIGINT NOT NULL,
    reason BIGINT NOT NULL,
    note TEXT NOT NULL,
    adjusted_by TEXT NOT NULL,
    adjusted_at_ms BIGINT NOT NULL,
    PRIMARY KEY (product_id, adjustment_id)
) WITHOUT ROWID;

-- What a request id was answered with, for 30 days.
CREATE TABLE request_ids (
    caller TEXT NOT NULL,
    method TEXT NOT NULL,
    request_id BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    resource_id TEXT NOT NULL DEFAULT '',
    response BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (caller, method, request_id)
) WITHOUT ROWID;
CREATE INDEX request_ids_age ON request_ids (created_at_ms);

-- The last position given in each shard of the event log. Locked as the last statement before a commit, so that the order
-- of positions is the order of commits.
CREATE TABLE event_heads (
    shard BIGINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL,
    -- Events up to here are no longer kept.
    trimmed_through BIGINT NOT NULL DEFAULT 0
);
INSERT INTO event_heads (shard, position) VALUES (0, 0);

-- A Sync is one event for its range of records, expanded when read. body: what other kinds need.
CREATE TABLE events (
    shard BIGINT NOT NULL,
    position BIGINT NOT NULL,
    event_id BLOB NOT NULL,
    kind BIGINT NOT NULL,
    machine_id BLOB,
    epoch BLOB,
    first_seq BIGINT NOT NULL DEFAULT 0,
    last_seq BIGINT NOT NULL DEFAULT 0,
    at_ms BIGINT NOT NULL,
    trace_id TEXT NOT NULL,
    body BLOB,
    PRIMARY KEY (shard, position)
) WITHOUT ROWID;
