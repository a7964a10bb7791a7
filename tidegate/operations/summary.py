"""What became of a flow run's objects."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.ledger import ObjectEntry, queries

if TYPE_CHECKING:
    from tidegate.ledger import Batch, Ledger


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """The objects a run claimed, as they stand now."""

    dataset: str
    entries: list[ObjectEntry]

    @property
    def states(self) -> Counter[str]:
        return Counter(entry.state for entry in self.entries)

    def sentence(self) -> str:
        """``31 objects: 30 loaded (6,200 rows, 12 rejected), 1 quarantined.``"""
        if not self.entries:
            return "Nothing was pending."
        parts = []
        for state, count in sorted(self.states.items()):
            text = f"{count} {state}"
            if state == "loaded":
                rows = sum(e.rows_loaded or 0 for e in self.entries if e.state == state)
                bad = sum(e.rows_rejected or 0 for e in self.entries if e.state == state)
                text += f" ({rows:,} {'row' if rows == 1 else 'rows'}" + (
                    f", {bad:,} rejected)" if bad else ")"
                )
            parts.append(text)
        return f"{count_of(len(self.entries))}: {', '.join(parts)}."

    def description(self) -> str:
        """The sentence, for held rows and objects what to do about them, and a change of dialect."""
        held = sum(entry.state == "quarantined" or bool(entry.rows_rejected) for entry in self.entries)
        parts = [self.sentence()]
        if held:
            parts.append(
                f"Rows or all of {count_of(held)} are held; the reports say why. Mend the contract, then "
                f"run `tidegate quarantine redrive --dataset {self.dataset}`."
            )
        changed = [entry for entry in self.entries if entry.dialect_changes]
        if changed:
            what = "; ".join(changed[0].dialect_changes or ())
            more = f" It changed with {count_of(len(changed) - 1)} more." if changed[1:] else ""
            parts.append(f"The dialect changed with {changed[0].key}: {what}.{more}")
        return " ".join(parts)


def count_of(number: int, noun: str = "object") -> str:
    """``1 object``, ``2,000 objects``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def summarize(ledger: Ledger, batch: Batch) -> BatchSummary:
    """Everything the batch's run ever claimed, as the ledger has it now."""
    return BatchSummary(batch.dataset, ledger.ask(queries.claimed_by, batch.id))
