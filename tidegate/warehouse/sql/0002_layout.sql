-- Layout 2: where a rejected row stands in its object, why it was closed and by whom.

ALTER TABLE warehouse.tidegate.rejected_rows ADD COLUMN "offset" BIGINT; -- of the record's first byte, unpacked

-- redriven: its record passed and was loaded; tried_again: a later try says what is wrong now;
-- replaced: a newer object stands instead; discarded: a person decided not to load it
ALTER TABLE warehouse.tidegate.rejected_rows ADD COLUMN closed_reason VARCHAR;

-- of the try that closed it; closed_by holds the object, or the person who discarded it
ALTER TABLE warehouse.tidegate.rejected_rows ADD COLUMN closed_contract_version VARCHAR;

ALTER TABLE warehouse.tidegate.rejected_rows ADD COLUMN closed_note VARCHAR; -- a person's reason

-- How the object was read, as JSON: equal texts number its records equally. '' when unknown.
ALTER TABLE warehouse.tidegate.commits ADD COLUMN dialect VARCHAR DEFAULT '';
