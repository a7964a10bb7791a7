-- Rows that are held: open entries of the try that is in force. {where} holds what narrows them.

-- name: lines
WITH chosen AS (
    SELECT r.*, c.url, c.key, c.version, c.active
    FROM warehouse.tidegate.rejected_rows r
    JOIN warehouse.tidegate.commits c USING (object_id, dataset)
    WHERE {where}
), whole AS (
    SELECT object_id, dataset, count(DISTINCT record) AS records FROM chosen GROUP BY ALL
)
SELECT r.object_id, r.dataset, r.url, r.key, r.version, r.active, r.rule, r."column", r.contract_version,
    count(DISTINCT r.record), epoch_us(min(r.rejected_at)), whole.records
FROM chosen r
JOIN whole USING (object_id, dataset)
GROUP BY ALL
ORDER BY r.dataset, r.key, min(r.rejected_at), r.object_id, count(DISTINCT r.record) DESC, r.rule, r."column"

-- name: records
WITH chosen AS (
    SELECT r.*
    FROM warehouse.tidegate.rejected_rows r
    JOIN warehouse.tidegate.commits c USING (object_id, dataset)
    WHERE {where} AND (r.object_id, r.record) > ({after_object}, {after_record})
), firsts AS (
    SELECT DISTINCT object_id, record FROM chosen ORDER BY object_id, record LIMIT {limit}
)
SELECT object_id, record, line, "offset", raw, contract_version, epoch_us(rejected_at), "column", rule, value, message
FROM chosen
SEMI JOIN firsts USING (object_id, record)
ORDER BY object_id, record, "column" NULLS FIRST, rule, value

-- name: discard
UPDATE warehouse.tidegate.rejected_rows AS r
SET closed_at = make_timestamptz({moment}),
    closed_by = {by},
    closed_reason = 'discarded',
    closed_note = {note}
WHERE r.closed_at IS NULL AND (r.object_id, r.dataset, r.record, r.attempt) IN (
    SELECT (r.object_id, r.dataset, r.record, r.attempt)
    FROM warehouse.tidegate.rejected_rows r
    JOIN warehouse.tidegate.commits c USING (object_id, dataset)
    WHERE {where}
)

-- name: restore
UPDATE warehouse.tidegate.rejected_rows AS r
SET closed_at = NULL, closed_by = NULL, closed_reason = NULL, closed_note = NULL, attempt = c.attempt
FROM warehouse.tidegate.commits c
WHERE r.object_id = c.object_id AND r.dataset = c.dataset AND c.active
    AND r.closed_reason = 'discarded' AND (r.object_id, r.dataset, r.record) IN (
        SELECT (r.object_id, r.dataset, r.record)
        FROM warehouse.tidegate.rejected_rows r
        JOIN warehouse.tidegate.commits c USING (object_id, dataset)
        WHERE {where}
    )

-- name: count
SELECT count(DISTINCT (r.object_id, r.dataset, r.record))
FROM warehouse.tidegate.rejected_rows r
JOIN warehouse.tidegate.commits c USING (object_id, dataset)
WHERE {where}
