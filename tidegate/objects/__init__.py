"""Objects (immutable versions of uploaded files) and the stores that hold them."""

from tidegate.objects.model import ObjectVersion, is_newer
from tidegate.objects.store import ObjectStore, open_quarantine, open_store

__all__ = ["ObjectStore", "ObjectVersion", "is_newer", "open_quarantine", "open_store"]
