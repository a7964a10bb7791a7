#!/usr/bin/env bash
# A week of real flights through the whole system. One file has a wrong header and one has six bad rows on purpose
# (README.md beside this file), so exit code 3, "done but something is quarantined", is what `wait` should say.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

done_or_quarantined() {
    local code=0
    "$@" || code=$?
    [ "$code" -eq 3 ] || return "$code"
}

say 'tidegate up --detach'
tidegate up --detach

say 'tidegate drop examples/nycflights'
tidegate drop examples/nycflights

# Flights wait by themselves until the four datasets that they are enriched from are loaded.
say 'tidegate wait --timeout 300'
done_or_quarantined tidegate wait --timeout 300

say 'Rows in the warehouse'
tidegate query "
    SELECT 'airlines' AS dataset, count(*) AS rows FROM airlines
    UNION ALL SELECT 'airports', count(*) FROM airports
    UNION ALL SELECT 'planes', count(*) FROM planes
    UNION ALL SELECT 'weather', count(*) FROM weather
    UNION ALL SELECT 'flights', count(*) FROM flights"

say 'tidegate objects --state quarantined'
done_or_quarantined tidegate objects --state quarantined

say 'tidegate status'
done_or_quarantined tidegate status

say 'The system is still up. Next:
  source .venv/bin/activate
  tidegate why flights/flights-2013-01-09-bad-rows.csv
  tidegate down'
