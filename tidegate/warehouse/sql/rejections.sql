-- Rejected rows: one row a broken rule. Closed ones stay, as history.

-- name: insert
INSERT INTO warehouse.tidegate.rejected_rows
SELECT f.object_id, {dataset}, r.record, r.line, r."column", r.rule, r.value, r.message, r.raw,
    f.contract_version, f.attempt, make_timestamptz({moment}), NULL, NULL
FROM read_parquet([{files}], filename = '_object_file') r
JOIN refused f ON f.file = r._object_file

-- name: count
SELECT object_id, count(DISTINCT record)
FROM warehouse.tidegate.rejected_rows
WHERE rejected_at = make_timestamptz({moment}) AND dataset = {dataset}
GROUP BY object_id

-- name: close_tried_again
UPDATE warehouse.tidegate.rejected_rows AS r
SET closed_at = make_timestamptz({moment}), closed_by = t.object_id
FROM tried_again t
WHERE r.object_id = t.object_id AND r.dataset = {dataset} AND r.closed_at IS NULL
    AND r.attempt NOT IN (t.attempt, t.in_force)

-- name: close_replaced
UPDATE warehouse.tidegate.rejected_rows AS r
SET closed_at = make_timestamptz({moment}), closed_by = p.stands
FROM replaced p
WHERE r.object_id = p.object_id AND r.dataset = {dataset} AND r.closed_at IS NULL
