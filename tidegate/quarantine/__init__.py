"""What is held, written down for people: where each report lies and what stands in it."""

from tidegate.quarantine.places import folder_of
from tidegate.quarantine.rejected import RejectedFile, sentence
from tidegate.quarantine.report import FIRST, report_of

__all__ = ["FIRST", "RejectedFile", "folder_of", "report_of", "sentence"]
