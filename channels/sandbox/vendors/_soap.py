"""SOAP 1.1 as Microsoft's services speak it: requests as plain dictionaries, answers and faults from them."""
# ruff: noqa: S314, S405  (what is parsed here comes from our own side of a sandbox)

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
ARRAYS = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"
ADAPI = "https://adapi.microsoft.com"


class NoEnvelope(ValueError):
    """Not a SOAP message. The text says what is missing."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its operation, headers and fields, namespaces left out."""

    operation: str
    namespace: str
    headers: Mapping[str, str]
    fields: Mapping[str, Any]


def local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def read(raw: bytes) -> Call:
    """Raises :class:`NoEnvelope`."""
    try:
        envelope = ET.fromstring(raw)
    except ET.ParseError as error:
        raise NoEnvelope(str(error)) from None
    body = envelope.find(f"{{{ENVELOPE}}}Body")
    if body is None or len(body) != 1:
        raise NoEnvelope("one operation in a Body is wanted")
    header = envelope.find(f"{{{ENVELOPE}}}Header")
    told = {local(entry.tag): entry.text or "" for entry in (header if header is not None else ())}
    request = body[0]
    name = local(request.tag).removesuffix("Request")
    namespace = request.tag[1:].split("}")[0] if request.tag.startswith("{") else ""
    return Call(name, namespace, told, _fields(request))


def _fields(element: ET.Element) -> dict[str, Any]:
    """Children by name; repeated ones as a list, the type of a derived one below ``@type``."""
    found: dict[str, Any] = {}
    if kind := element.get(f"{{{XSI}}}type"):
        found["@type"] = kind.rsplit(":", 1)[-1]
    for child in element:
        name, value = local(child.tag), _value(child)
        if name in found:
            old = found[name]
            found[name] = [*old, value] if isinstance(old, list) else [old, value]
        else:
            found[name] = value
    return found


def _value(element: ET.Element) -> Any:
    if element.get(f"{{{XSI}}}nil") == "true":
        return None
    if len(element) or element.get(f"{{{XSI}}}type"):
        return _fields(element)
    return element.text or ""


def many(value: Any, name: str) -> list[Any]:
    """The entries of an ``ArrayOf…``."""
    entries = (value or {}).get(name) if isinstance(value, dict) else None
    if entries is None:
        return []
    return entries if isinstance(entries, list) else [entries]


def answer(operation: str, namespace: str, fields: Mapping[str, Any]) -> bytes:
    body = f'<{operation}Response xmlns="{namespace}">{_write(fields)}</{operation}Response>'
    return _envelope(f'<TrackingId xmlns="{namespace}">sandbox</TrackingId>', body)


def fault(text: str, name: str, namespace: str, fields: Mapping[str, Any]) -> bytes:
    """A fault whose detail is ``name`` of a namespace."""
    detail = f'<detail><{name} xmlns="{namespace}">{_write(fields)}</{name}></detail>'
    body = (
        f"<s:Fault><faultcode>s:Server</faultcode><faultstring>{escape(text)}</faultstring>{detail}</s:Fault>"
    )
    return _envelope("", body)


def _envelope(header: str, body: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<s:Envelope xmlns:s="{ENVELOPE}" xmlns:i="{XSI}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'
    ).encode()


def _write(fields: Mapping[str, Any]) -> str:
    space = str(fields.get("@xmlns", ""))
    return "".join(_element(name, value, space) for name, value in fields.items() if not name.startswith("@"))


def _element(name: str, value: Any, namespace: str = "") -> str:
    """Lists are repeated elements; ``long`` and ``string`` of arrays stand in the arrays' own namespace, other fields
    in that of ``@xmlns`` beside them."""
    if isinstance(value, list):
        return "".join(_element(name, entry, namespace) for entry in value)
    namespace = ARRAYS if name in {"long", "string"} else namespace
    space = f' xmlns="{namespace}"' if namespace else ""
    if value is None:
        return f'<{name}{space} i:nil="true"/>'
    if isinstance(value, Mapping):
        kind = f' i:type="{value["@type"]}"' if "@type" in value else ""
        return f"<{name}{space}{kind}>{_write(value)}</{name}>"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{name}{space}>{escape(text)}</{name}>"
