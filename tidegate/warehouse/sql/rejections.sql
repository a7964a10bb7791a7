-- Rejected rows: one row a broken rule. Closed ones stay, as history.

-- name: take_up
-- The records that a redrive may change: those that the record in force counts as rejected.
CREATE TEMP TABLE taken_up AS
SELECT DISTINCT r.object_id, r.record
FROM warehouse.tidegate.rejected_rows r
JOIN redriven d ON d.object_id = r.object_id AND d.in_force = r.attempt
WHERE r.dataset = {dataset} AND r.closed_at IS NULL

-- name: count_taken_up
SELECT object_id, count(*) FROM taken_up GROUP BY object_id

-- name: insert
INSERT INTO warehouse.tidegate.rejected_rows BY NAME
SELECT f.object_id, {dataset} AS dataset, r.record, r.line, r."offset", r."column", r.rule, r.value,
    r.message, r.raw, f.contract_version, f.attempt, make_timestamptz({moment}) AS rejected_at
FROM read_parquet([{files}], filename = '_object_file') r
JOIN refused f ON {match}
{only}

-- name: only_taken_up
WHERE NOT f.adds OR (f.object_id, r.record) IN (SELECT (object_id, record) FROM taken_up)

-- name: count
SELECT object_id, count(DISTINCT record)
FROM warehouse.tidegate.rejected_rows
WHERE rejected_at = make_timestamptz({moment}) AND dataset = {dataset}
GROUP BY object_id

-- name: close_tried_again
CREATE TEMP TABLE still_rejected AS
SELECT DISTINCT object_id, record
FROM warehouse.tidegate.rejected_rows
WHERE rejected_at = make_timestamptz({moment}) AND dataset = {dataset};

UPDATE warehouse.tidegate.rejected_rows AS r
SET closed_at = make_timestamptz({moment}),
    closed_by = t.object_id,
    closed_contract_version = t.contract_version,
    closed_reason = CASE
        WHEN t.same_records
            AND (r.object_id, r.record) NOT IN (SELECT (object_id, record) FROM still_rejected)
        THEN 'redriven'
        ELSE 'tried_again'
    END
FROM tried_again t
WHERE r.object_id = t.object_id AND r.dataset = {dataset}
    AND r.attempt NOT IN (t.attempt, t.in_force)
    -- Read anew as a whole, an object forgets what was discarded of it.
    AND (r.closed_at IS NULL OR (t.anew AND r.closed_reason = 'discarded'))

-- name: close_replaced
UPDATE warehouse.tidegate.rejected_rows AS r
SET closed_at = make_timestamptz({moment}), closed_by = p.stands, closed_reason = 'replaced'
FROM replaced p
WHERE r.object_id = p.object_id AND r.dataset = {dataset} AND r.closed_at IS NULL
