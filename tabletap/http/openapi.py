"""``/openapi.json``: the REST door described from the table of operations (OpenAPI 3.1, spec Q5)."""

from collections.abc import Iterable
from typing import Any

import msgspec

from tabletap.domain.errors import Code

from .keyring import TENANT
from .operations.base import About, Key, Operation, Raw
from .problems import STATUS, Problem

_REF = "#/components/schemas/{name}"
_UUID_PARAMS = frozenset({"orderId", "paymentId", "drawerId", "endpointId", "webhookId", "keyId"})


def document(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    """The document as plain data."""
    listed = list(operations)
    types: list[Any] = [Problem]
    for operation in listed:
        types += [one for one in (operation.body, operation.reply, operation.query) if one not in (None, Raw)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = {repr(one): schema for one, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "TableTap", "version": version, "description": "Orders, kitchens and money of cafes."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "till": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _operation(operation: Operation, schema_of: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.name.partition(".")[0]],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation, schema_of, components)],
        "responses": _responses(operation, schema_of),
        "security": _security(operation),
    }
    if operation.access.till is not None:
        described["parameters"].append(
            {
                "name": TENANT,
                "in": "header",
                "required": False,
                "description": "The slug; needed with X-API-Key",
                "schema": {"type": "string"},
            }
        )
    if operation.key is not Key.NONE:
        described["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": operation.key is Key.REQUIRED,
                "schema": {"type": "string", "format": "uuid"},
            }
        )
    if operation.signed_bytes:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": {}}}}
    if operation.body is not None:
        optional = type(None) in getattr(operation.body, "__args__", ())
        described["requestBody"] = {
            "required": not optional,
            "content": {"application/json": {"schema": schema_of[repr(operation.body)]}},
        }
    return described


def param_schema(name: str) -> dict[str, Any]:
    """What a parameter of a path may be."""
    if name in {"line", "number"}:
        return {"type": "integer", "minimum": 1}
    if name == "day":
        return {"type": "string", "format": "date"}
    return {"type": "string", "format": "uuid"} if name in _UUID_PARAMS else {"type": "string", "minLength": 1}


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    """Any one of them will do."""
    nobody: list[dict[str, list[str]]] = [{}] if operation.access.public else []
    till: list[dict[str, list[str]]] = [{"till": []}] if operation.access.till is not None else []
    return [*nobody, {"bearer": []}, *till]


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": param_schema(name)} for name in operation.params]


def _query_parameters(
    operation: Operation, schema_of: dict[str, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    schema = schema_of[repr(operation.query)]
    schema = components[schema["$ref"].rpartition("/")[2]]
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": one}
        for name, one in schema["properties"].items()
    ]


def _responses(operation: Operation, schema_of: dict[str, Any]) -> dict[str, Any]:
    if operation.reply is Raw:
        kind = "image/png" if operation.name.endswith("png") else "image/svg+xml"
        content: dict[str, Any] = {kind: {}}
    else:
        content = {"application/json": {"schema": schema_of[repr(operation.reply)]}}
        if operation.csv:
            content["text/csv"] = {"schema": {"type": "string"}}
    responses: dict[str, Any] = {str(operation.status): {"description": "Done", "content": content}}
    for status in sorted({STATUS[code] for code in _refusals(operation)}):
        responses[str(status)] = {
            "description": "Refused",
            "content": {"application/json": {"schema": schema_of[repr(Problem)]}},
        }
    return responses


def _refusals(operation: Operation) -> set[Code]:
    """Which codes the operation may be refused with, as far as its declaration tells."""
    codes = {Code.AUTH_REQUIRED, Code.FORBIDDEN, Code.NOT_FOUND, Code.RATE_LIMIT_EXCEEDED, Code.UNAVAILABLE}
    codes |= {Code.OUTCOME_UNKNOWN, Code.VALIDATION_ERROR, Code.INTERNAL_ERROR, Code.METHOD_NOT_ALLOWED}
    if operation.body is not None or operation.signed_bytes:
        codes.add(Code.PAYLOAD_TOO_LARGE)
    if operation.method != "GET" or operation.about is About.PAYMENT:
        codes |= {Code.ILLEGAL_MOVE}
    if operation.key is not Key.NONE:
        codes.add(Code.IDEMPOTENCY_KEY_REUSED)
    return codes
