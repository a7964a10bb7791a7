"""What becomes of each object of a batch, decided in memory before anything is written.

Pure, and the same for every warehouse. Objects *contend* where only one of them can stand: the
versions of one key under `append` and `merge`, all objects of the dataset under `replace`. The
newest that was not held stands, whatever the order of arrival.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime  # noqa: TC003 - dataclass fields are inspected at run time
from functools import cmp_to_key, reduce
from typing import TYPE_CHECKING

from tidegate.contracts import LoadPolicy, Merge, Replace
from tidegate.objects import ObjectVersion, is_newer
from tidegate.warehouse.model import Commit, LoadOutcome, LoadRequest, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    _Newer = Callable[[ObjectVersion, ObjectVersion], bool]

EMPTY = (
    "No row of it can be loaded, and replacing would empty the table. "
    "Set Replace(allow_empty=True) if an empty file is meant to do that."
)
REREAD = "It is read in another way than before, so all of its rows were loaded anew."


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """An object that the warehouse has a record of."""

    object: ObjectVersion
    content_sha256: str
    #: the record in force
    commit: Commit
    #: a later try that was held and left `commit` in force
    held: Commit | None
    #: whether its rows stand in the table
    active: bool
    #: whether an object that stands took its place
    replaced: bool
    #: upload time of the newest version with the same content: its place in the object order
    order_at: datetime

    def is_read_alike(self, request: LoadRequest) -> bool:
        """Whether the records of the request are those of the record in force, by their numbers."""
        now = (request.dialect, request.content_sha256, request.rows_read)
        return bool(request.dialect) and now == (
            self.commit.dialect,
            self.content_sha256,
            self.commit.rows_read,
        )

    @property
    def latest(self) -> Commit:
        return self.held or self.commit

    @property
    def contends(self) -> bool:
        return not self.replaced and self.commit.outcome is not Outcome.SUPERSEDED

    @property
    def counts_for_order(self) -> bool:
        return self.contends and self.commit.outcome in {Outcome.LOADED, Outcome.DUPLICATE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a try at an object ends with."""

    request: LoadRequest
    outcome: Outcome
    reason: str = ""
    others: tuple[str, ...] = ()
    #: the record in force before this try, if there is one
    before: Commit | None
    #: whether this try is held and leaves `before` in force
    retained: bool = False
    #: whether rows are added to those that `before` counts, which stay as they are
    adds: bool = False
    #: whether the records are those of `before`, by their numbers
    same_records: bool = False
    #: place in the object order
    order_at: datetime

    @property
    def object_id(self) -> str:
        return self.request.object.object_id


@dataclass(kw_only=True, slots=True)
class Plan:
    """All that a batch changes."""

    decisions: list[Decision] = field(default_factory=list)
    #: outcomes of requests that were committed before
    already: dict[str, LoadOutcome] = field(default_factory=dict)
    #: objects whose rows leave the table
    leaving: set[str] = field(default_factory=set)
    #: object -> the object that stands in its place from now on
    replaced: dict[str, str] = field(default_factory=dict)
    #: standing object -> its new place in the object order, given by a duplicate
    moved_up: dict[str, datetime] = field(default_factory=dict)

    @property
    def loads(self) -> list[Decision]:
        return [one for one in self.decisions if one.outcome is Outcome.LOADED]

    @property
    def additions(self) -> list[Decision]:
        """Objects whose rows stay and get those of held records beside them."""
        return [one for one in self.loads if one.adds]

    @property
    def changes_table(self) -> bool:
        """Whether the rows of the table, or their order by object, change."""
        return bool(self.loads or self.leaving or self.moved_up)


def plan_batch(policy: LoadPolicy, requests: Sequence[LoadRequest], known: Mapping[str, Known]) -> Plan:
    """Decide for each object. `known` has the records of the batch and all that contend with it.

    Of several requests for one object only the one with the highest attempt counts.
    """
    plan = Plan()
    tries: dict[str, LoadRequest] = {}
    for request in sorted(requests, key=lambda one: one.attempt):
        tries[request.object.object_id] = request
    asked: defaultdict[tuple[str, ...], list[LoadRequest]] = defaultdict(list)
    for object_id, request in tries.items():
        record = known.get(object_id)
        if record is not None and record.latest.attempt >= request.attempt:
            plan.already[object_id] = replace(record.latest, already=True)
        else:
            asked[arena(policy, request.object)].append(request)
    rivals: defaultdict[tuple[str, ...], list[Known]] = defaultdict(list)
    for record in known.values():
        rivals[arena(policy, record.object)].append(record)
    for place, group in asked.items():
        _Contest(policy, rivals[place], plan).settle(group)
    return plan


def arena(policy: LoadPolicy, one: ObjectVersion) -> tuple[str, ...]:
    """Equal for objects of one dataset of which only the newest can stand."""
    return () if isinstance(policy, Replace) else _full_key(one)


def _full_key(one: ObjectVersion) -> tuple[str, str, str]:
    return one.store, one.bucket, one.key


def newer_in_dataset(candidate: ObjectVersion, other: ObjectVersion) -> bool:
    """Whether `candidate` was uploaded after `other`; ties between keys are broken by name."""
    if _full_key(candidate) == _full_key(other):
        return is_newer(candidate, other)
    return _place(candidate) > _place(other)


def _place(one: ObjectVersion) -> tuple[datetime, str, str]:
    return one.uploaded_at, one.key, one.object_id


@dataclass(slots=True)
class _Standing:
    object: ObjectVersion
    content_sha256: str
    order_at: datetime


class _Contest:
    """Objects of which only one can stand, taken newest first."""

    def __init__(self, policy: LoadPolicy, known: Iterable[Known], plan: Plan) -> None:
        self.policy = policy
        self.plan = plan
        self.newer: _Newer = newer_in_dataset if isinstance(policy, Replace) else is_newer
        self.known = {one.object.object_id: one for one in known}
        #: decided before or here, and not held: no older object may be loaded any more
        self.heads = {id_: one.object for id_, one in self.known.items() if one.counts_for_order}
        self.standing: _Standing | None = None
        active = [one for one in self.known.values() if one.active]
        if active:
            newest = reduce(lambda a, b: a if self.newer(a.object, b.object) else b, active)
            self.standing = _Standing(newest.object, newest.content_sha256, newest.order_at)

    def settle(self, requests: Iterable[LoadRequest]) -> None:
        held: list[ObjectVersion] = []
        for request in sorted(requests, key=cmp_to_key(self._compare), reverse=True):
            reason = self._held(request)
            if reason is None:
                self._decide(request)
            elif self._hold(request, reason):
                held.append(request.object)
        self._retire(held)

    def _compare(self, a: LoadRequest, b: LoadRequest) -> int:
        return int(self.newer(a.object, b.object)) - int(self.newer(b.object, a.object))

    def _held(self, request: LoadRequest) -> str | None:
        empties = isinstance(self.policy, Replace) and not self.policy.allow_empty
        if request.held is None and empties and request.rows_valid == 0:
            return EMPTY
        return request.held

    def _hold(self, request: LoadRequest, reason: str) -> bool:
        """Quarantine; False when an earlier decision stays in force."""
        record = self.known.get(request.object.object_id)
        keeps = record is not None and record.commit.outcome is not Outcome.QUARANTINED
        self._note(request, Outcome.QUARANTINED, reason, retained=keeps)
        return not keeps

    def _decide(self, request: LoadRequest) -> None:
        object_id = request.object.object_id
        stand = self.standing
        if stand is not None and stand.object.object_id == object_id:
            self._load(request)
        elif (head := self._newer_head(request.object)) is not None:
            instead = stand.object if stand is not None else head
            self._note(request, Outcome.SUPERSEDED, self._why_superseded(head), (instead.object_id,))
            if (record := self.known.get(object_id)) is not None and record.active:
                self.plan.leaving.add(object_id)
        elif stand is not None and self._repeats(request, stand):
            self.heads[object_id] = request.object
            stand.order_at = max(stand.order_at, request.object.uploaded_at)
            self.plan.moved_up[stand.object.object_id] = stand.order_at
            self._note(
                request,
                Outcome.DUPLICATE,
                f"{stand.object.url} was loaded with the same content.",
                (stand.object.object_id,),
            )
        else:
            self._load(request)

    def _newer_head(self, one: ObjectVersion) -> ObjectVersion | None:
        heads = (head for id_, head in self.heads.items() if id_ != one.object_id)
        return next((head for head in heads if self.newer(head, one)), None)

    def _repeats(self, request: LoadRequest, stand: _Standing) -> bool:
        # A merge takes it: rows may win by being newer. So does a backfill of a duplicate, which
        # was asked for to apply a new contract.
        record = self.known.get(request.object.object_id)
        again = record is not None and record.commit.outcome in {Outcome.LOADED, Outcome.DUPLICATE}
        same = bool(request.content_sha256) and request.content_sha256 == stand.content_sha256
        return same and not again and not isinstance(self.policy, Merge)

    def _load(self, request: LoadRequest) -> None:
        object_id, stand = request.object.object_id, self.standing
        order_at, adds, reason = request.object.uploaded_at, False, ""
        if stand is not None and stand.object.object_id == object_id:
            order_at = max(order_at, stand.order_at)
            before = self.known.get(object_id)
            again = request.redrive and before is not None and before.active
            adds = again and before is not None and before.is_read_alike(request)
            reason = REREAD if again and not adds else ""
        replaced = []
        for other, record in self.known.items():
            if record.active and other not in self.plan.leaving and not (adds and other == object_id):
                self.plan.leaving.add(other)
                if other != object_id:
                    replaced.append(other)
        self.plan.replaced.update(dict.fromkeys(replaced, object_id))
        self.heads[object_id] = request.object
        self.standing = _Standing(request.object, request.content_sha256, order_at)
        self._note(request, Outcome.LOADED, reason, tuple(replaced), order_at=order_at, adds=adds)

    def _retire(self, held: Iterable[ObjectVersion]) -> None:
        """What contended and is older than the newest loaded object is settled for good."""
        if self.standing is None or not self.heads:
            return
        stands = self.standing.object.object_id
        newest = reduce(lambda a, b: a if self.newer(a, b) else b, self.heads.values())
        rivals = [one.object for one in self.known.values() if one.contends and not one.active]
        for rival in (*rivals, *held):
            if rival.object_id != stands and self.newer(newest, rival):
                self.plan.replaced.setdefault(rival.object_id, stands)

    def _why_superseded(self, head: ObjectVersion) -> str:
        what = "object" if isinstance(self.policy, Replace) else "version of this key"
        when = f"{head.uploaded_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"A newer {what} was loaded before: {head.url}, uploaded at {when}."

    def _note(
        self,
        request: LoadRequest,
        outcome: Outcome,
        reason: str,
        others: tuple[str, ...] = (),
        *,
        retained: bool = False,
        order_at: datetime | None = None,
        adds: bool = False,
    ) -> None:
        record = self.known.get(request.object.object_id)
        self.plan.decisions.append(
            Decision(
                request=request,
                outcome=outcome,
                reason=reason,
                others=others,
                before=None if record is None else record.commit,
                retained=retained,
                adds=adds,
                same_records=record is not None and record.is_read_alike(request),
                order_at=order_at or request.object.uploaded_at,
            )
        )
