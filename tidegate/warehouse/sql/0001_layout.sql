-- The words of the engine in DuckDB, layout 1. Never changed once released: add 0002_….sql.

CREATE SCHEMA warehouse.tidegate;

CREATE TABLE warehouse.tidegate.meta (
    name VARCHAR PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE warehouse.tidegate.datasets (
    dataset VARCHAR PRIMARY KEY,
    policy VARCHAR NOT NULL,          -- load policy of the last load that changed the table
    sequence BIGINT NOT NULL,         -- grows with every commit that changes the table
    committed_at TIMESTAMPTZ NOT NULL -- of the last commit; the next one is later
);

-- One row an object and dataset. Not a primary key: DuckDB writes an index whole at every
-- checkpoint, and with 300,000 records that made each load 0.1 s longer.
CREATE TABLE warehouse.tidegate.commits (
    object_id VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    store VARCHAR NOT NULL,
    bucket VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    etag VARCHAR,
    url VARCHAR NOT NULL,
    size BIGINT,
    uploaded_at TIMESTAMPTZ NOT NULL,
    sequencer VARCHAR,
    content_sha256 VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    rows_read BIGINT NOT NULL,
    rows_loaded BIGINT NOT NULL,
    rows_rejected BIGINT NOT NULL,
    rows_duplicate BIGINT NOT NULL,
    contract_version VARCHAR NOT NULL,
    attempt BIGINT NOT NULL,
    batch_id VARCHAR NOT NULL,
    flow_run_id VARCHAR NOT NULL,
    others VARCHAR[] NOT NULL,
    committed_at TIMESTAMPTZ NOT NULL,
    active BOOLEAN NOT NULL,          -- its rows stand in the table
    replaced_by VARCHAR,              -- the object that stands in its place
    order_at TIMESTAMPTZ NOT NULL,    -- upload time of the newest version with this content
    held_attempt BIGINT,              -- a later try that was held and left this record in force
    held_reason VARCHAR,
    held_rows_read BIGINT,
    held_contract_version VARCHAR,
    held_at TIMESTAMPTZ,
    CHECK (rows_read = rows_loaded + rows_rejected + rows_duplicate)
);

CREATE TABLE warehouse.tidegate.rejected_rows (
    object_id VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    record BIGINT NOT NULL,
    line BIGINT,
    "column" VARCHAR,
    rule VARCHAR NOT NULL,
    value VARCHAR,
    message VARCHAR,
    raw VARCHAR,
    contract_version VARCHAR NOT NULL,
    attempt BIGINT NOT NULL,
    rejected_at TIMESTAMPTZ NOT NULL,
    closed_at TIMESTAMPTZ,            -- when nobody needs to mend it any more
    closed_by VARCHAR                 -- the object that stands instead, or itself, tried again
);

CREATE TABLE warehouse.tidegate.snapshots (
    dataset VARCHAR NOT NULL,
    sequence BIGINT NOT NULL,
    path VARCHAR NOT NULL,
    rows BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (dataset, sequence)
);
