-- The engine's own tables. The batch comes in as temporary tables.

-- name: has_table
-- duckdb_columns() would say all at once, but takes 9 ms.
SELECT 1
FROM duckdb_tables()
WHERE database_name = 'warehouse' AND schema_name = {schema} AND table_name = {table}

-- name: layout
SELECT value FROM warehouse.tidegate.meta WHERE name = 'layout'

-- name: note_layout
INSERT OR REPLACE INTO warehouse.tidegate.meta VALUES ('layout', {version})

-- name: known
SELECT {columns}
FROM warehouse.tidegate.commits c {in_arena}
WHERE c.dataset = {dataset} AND (
    c.object_id IN (SELECT object_id FROM asked)
    OR (c.replaced_by IS NULL AND c.outcome <> 'superseded')
)

-- name: committed
SELECT {columns}
FROM warehouse.tidegate.commits c
WHERE c.object_id IN ({ids})
ORDER BY greatest(c.committed_at, c.held_at)

-- name: dataset
SELECT policy, sequence, epoch_us(committed_at) FROM warehouse.tidegate.datasets WHERE dataset = {dataset}

-- name: note_dataset
INSERT OR REPLACE INTO warehouse.tidegate.datasets
VALUES ({dataset}, {policy}, {sequence}, make_timestamptz({moment}))

-- name: delete_commits
DELETE FROM warehouse.tidegate.commits
WHERE dataset = {dataset} AND object_id IN (SELECT object_id FROM decided)

-- name: insert_commits
INSERT INTO warehouse.tidegate.commits BY NAME SELECT * FROM decided

-- name: write_held
UPDATE warehouse.tidegate.commits AS c
SET held_attempt = h.attempt,
    held_reason = h.reason,
    held_rows_read = h.rows_read,
    held_contract_version = h.contract_version,
    held_at = make_timestamptz({moment})
FROM held h
WHERE c.object_id = h.object_id AND c.dataset = {dataset}

-- name: move_up
UPDATE warehouse.tidegate.commits AS c
SET order_at = m.order_at
FROM moved_up m
WHERE c.object_id = m.object_id AND c.dataset = {dataset}

-- name: replace
UPDATE warehouse.tidegate.commits AS c
SET active = false, replaced_by = p.stands
FROM replaced p
WHERE c.object_id = p.object_id AND c.dataset = {dataset}

-- name: latest_snapshot
SELECT sequence, path, rows, epoch_us(created_at)
FROM warehouse.tidegate.snapshots
WHERE dataset = {dataset}
ORDER BY sequence DESC
LIMIT 1

-- name: note_snapshot
INSERT INTO warehouse.tidegate.snapshots
VALUES ({dataset}, {sequence}, {path}, {rows}, make_timestamptz({moment}))
