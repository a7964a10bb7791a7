"""Facts about objects, as CloudEvents 1.0 (https://github.com/cloudevents/spec, v1.0.2)."""

from tidegate.events.model import Event, EventType, ObjectUploaded, Via

__all__ = ["Event", "EventType", "ObjectUploaded", "Via"]
