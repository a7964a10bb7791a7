"""The four stages of an object: validate, normalize, enrich, load. Files in, files out.

A stage reads staged files and writes staged files; what it says of an object is a `Verdict`,
small enough to hand on as JSON.
"""

from tidegate.stages.model import Rejection, Verdict, VerdictState

__all__ = ["Rejection", "Verdict", "VerdictState"]
