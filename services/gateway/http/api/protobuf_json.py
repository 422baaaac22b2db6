"""Triton's protobuf messages as its own HTTP door writes them: every field, and 64-bit numbers as numbers."""

from typing import Any

from google.protobuf.message import Message


def as_json(message: Message) -> dict[str, Any]:
    """Return a JSON object. (google.protobuf.json_format writes 64-bit numbers as text, which breaks clients.)"""
    content: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            inner = field.message_type.fields_by_name["value"]
            content[field.name] = {str(key): _one(inner, value[key]) for key in value}
        elif field.is_repeated:
            content[field.name] = [_one(field, item) for item in value]
        elif field.message_type is None or message.HasField(field.name):
            content[field.name] = _one(field, value)
    return content


def _one(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return as_json(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value.decode("latin-1") if isinstance(value, bytes) else value
