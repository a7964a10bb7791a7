"""One 200-row file renamed into the landing of an idle system: how long until its rows are committed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.measuring import Series, interleaved, ratio
from benchmarks.results import Goal, Result
from benchmarks.tidegate_system import Log, committed_after, moments_after

if TYPE_CHECKING:
    from benchmarks.peer_runs import PlainPrefect
    from benchmarks.session import Session
    from benchmarks.tidegate_system import TidegateSystem

ROWS = 200
#: Seconds that a system is left alone before the next file, so that it is idle again.
_REST = 0.5
_PATIENCE = 180.0


def run(session: Session) -> Result:
    """Tidegate and plain Prefect in turn, file by file."""
    result = Result("latency", session.quick, facts={"rows": ROWS})
    ours = result.add("Tidegate")
    with session.system_beside_prefect() as (system, peer):
        theirs = result.add("plain Prefect") if peer else None
        drop_one(session, system, Series("warm"), 2)
        rounds = session.size(50, 6)
        # Quick: the peer takes many times as long, so it gets few rounds.
        every = 1 if not session.quick else 3

        def of_peer(number: int) -> None:
            if peer is not None and theirs is not None and number % every == 0:
                _drop_one_at_peer(session, peer, theirs)

        interleaved(rounds, {"Tidegate": lambda _: drop_one(session, system, ours, 1), "peer": of_peer})
    if theirs:
        result.ratios.append(ratio(ours, theirs))
        times = theirs.median / ours.median
        result.goals.append(Goal("one file: times faster than plain Prefect", "x", times, 8, at_least=True))
    result.goals.append(Goal("one file on an idle system, p50", "s", ours.median, 0.8, 0.4))
    result.goals.append(Goal("one file on an idle system, p95", "s", ours.p95, 1.5))
    return result


def drop_one(session: Session, system: TidegateSystem, into: Series, times: int) -> None:
    """Measure single files, one after the other; with each the stages' moments."""
    with system.project() as project:
        for _ in range(times):
            files, first = session.small_files(system.ready, 1, ROWS)
            time.sleep(_REST)
            log, cpu = Log(project), system.cpu_seconds()
            started = system.drop(files)
            (entry,) = log.until_final([files[0].name], _PATIENCE).values()
            into.values.append(committed_after(entry, started))
            into.details.append({"cpu": system.cpu_seconds() - cpu, **moments_after(entry, started)})
            system.check_loaded(first, ROWS)


def _drop_one_at_peer(session: Session, peer: PlainPrefect, into: Series) -> None:
    files, first = session.small_files(peer.folder, 1, ROWS)
    time.sleep(_REST)
    started = peer.drop(files)
    told = peer.until_done([files[0].name], _PATIENCE)[files[0].name]
    into.values.append(told["committed_at"] - started)
    into.details.append({"flow started": told["started_at"] - started})
    peer.check_loaded(first, ROWS)
