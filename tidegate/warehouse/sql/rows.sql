-- The rows of a dataset. {table} is what people query; under `merge`, {beaten} keeps the rows of
-- standing objects that lost their key to another row, so that they come back when that one goes.

-- name: insert
INSERT INTO {table} ({columns}, _object_id, _record, _contract_version, _loaded_at)
SELECT {values}, b.object_id, r._record, b.contract_version, make_timestamptz({moment})
FROM {rows} r
JOIN loading b ON {match}
{only}

-- name: only_taken_up
SEMI JOIN taken_up u ON u.object_id = b.object_id AND u.record = r._record

-- name: delete
DELETE FROM {table} WHERE _object_id IN (SELECT object_id FROM leaving)

-- name: count
SELECT _object_id, count(*)
FROM {table}
WHERE _loaded_at = make_timestamptz({moment})
GROUP BY _object_id

-- name: count_all
SELECT _object_id, count(*)
FROM {table}
WHERE _object_id IN (SELECT object_id FROM redriven)
GROUP BY _object_id

-- name: vacate
CREATE TEMP TABLE vacated AS
SELECT DISTINCT {keys} FROM {table} WHERE _object_id IN (SELECT object_id FROM leaving)

-- name: vacate_all
CREATE TEMP TABLE vacated AS
SELECT DISTINCT {keys} FROM {table}

-- name: bring_back
INSERT INTO {table} BY NAME SELECT * FROM {beaten} SEMI JOIN vacated USING ({keys});
DELETE FROM {beaten} WHERE ({keys}) IN (SELECT ({keys}) FROM vacated)

-- name: bring_back_all
INSERT INTO {table} BY NAME SELECT * FROM {beaten};
DELETE FROM {beaten}

-- name: contest
CREATE TEMP TABLE contested AS
SELECT {keys}
FROM {table}
SEMI JOIN (
    SELECT {keys} FROM {table} WHERE _loaded_at = make_timestamptz({moment})
    {also}
) USING ({keys})
GROUP BY {keys}
HAVING count(*) > 1;

CREATE TEMP TABLE losers AS
SELECT _object_id, _record
FROM (
    SELECT t._object_id, t._record, row_number() OVER (
        PARTITION BY {t_keys}
        ORDER BY {order_by} o._order_at DESC, o._order_key DESC, t._object_id DESC, t._record DESC
    ) AS _place
    FROM {table} t
    SEMI JOIN contested USING ({keys})
    JOIN ({object_order}) o ON o._order_id = t._object_id
)
WHERE _place > 1;

INSERT INTO {beaten} BY NAME SELECT * FROM {table} SEMI JOIN losers USING (_object_id, _record);
DELETE FROM {table} WHERE (_object_id, _record) IN (SELECT (_object_id, _record) FROM losers)

-- name: object_order
-- Names that no dataset's column may have, so that none is ambiguous.
SELECT object_id AS _order_id, order_at AS _order_at, key AS _order_key
FROM warehouse.tidegate.commits
WHERE dataset = {dataset} AND active AND object_id NOT IN (SELECT object_id FROM loading)
UNION ALL
SELECT object_id, order_at, key FROM loading

-- name: snapshot
COPY (
    SELECT t.*
    FROM {table} t
    LEFT JOIN warehouse.tidegate.commits o ON o.object_id = t._object_id AND o.dataset = {dataset}
    ORDER BY o.order_at DESC, o.key DESC, t._object_id DESC, t._record
) TO {target} (FORMAT parquet, COMPRESSION zstd)
