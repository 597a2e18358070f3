"""The description of every page for programs: an OpenAPI document, made of the routes.

The schemas of entries, of the status and of much else are those of the command line (``schemas/output.json``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from .. import __version__
from .routes import Param, Route

_REF = "#/components/schemas/"
_ERROR = {
    "type": "object",
    "required": ["error", "status"],
    "properties": {
        "error": {"type": "string"},
        "status": {"type": "integer"},
        "errors": {"type": "object", "description": "What is wrong with which field."},
        "data": {"description": "What the page shows all the same."},
    },
}
_DONE = {"type": "object", "required": ["done"], "properties": {"done": {"type": "string"}}}


def description(routes: Sequence[Route], server: str) -> dict[str, Any]:
    """The OpenAPI document of some routes, served at *server*."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if not route.described:
            continue
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "redlock_beat",
            "version": __version__,
            "description": "Every page answers with JSON to `Accept: application/json` or `?format=json`.",
        },
        "servers": [{"url": server or "/"}],
        "paths": paths,
        "components": {"schemas": {**_shared(), "error": _ERROR, "done": _DONE}},
    }


def _operation(route: Route) -> dict[str, Any]:
    plain = route.method == "POST" and "properties" not in route.schema
    ends = {"200": _answer("The data.", {"$ref": _REF + "done"} if plain else route.schema)}
    ends["200"]["content"].update({kind: {"schema": {"type": "string"}} for kind in route.texts})
    codes = {"403": "Not allowed.", "404": "Not found.", "422": "Something given is wrong.", "503": "Redis is away."}
    if route.method == "POST":
        codes["409"] = "Somebody else was first."
    ends.update({code: _answer(words, {"$ref": _REF + "error"}) for code, words in sorted(codes.items())})
    operation: dict[str, Any] = {
        "operationId": _id_of(route),
        "summary": route.title,
        "description": route.words or route.title,
        "responses": ends,
    }
    if route.method == "GET":
        operation["parameters"] = [_parameter(one) for one in route.params]
    else:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _body(route)}}}
    if route.verb is not None:
        operation["x-verb"] = route.verb
    return operation


def _id_of(route: Route) -> str:
    words = [part for part in route.path.replace("-", "/").replace(".", "/").split("/") if part]
    return "_".join([route.method.lower(), *(words or ["schedule"])])


def _answer(words: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _parameter(param: Param) -> dict[str, Any]:
    found = {"name": param.name, "in": "query", "required": param.required, "schema": schema_of(param)}
    return {**found, "description": param.words} if param.words else found


def _body(route: Route) -> dict[str, Any]:
    properties = {one.name: {**schema_of(one), "description": one.words} for one in route.params}
    if route.once:
        words = "Any 24 hexadecimal digits: a request with them is carried out once in five minutes."
        properties["request"] = {"type": "string", "pattern": "^[0-9a-f]{24}$", "description": words}
    required = [one.name for one in route.params if one.required]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def schema_of(param: Param) -> dict[str, Any]:
    """What a parameter may be.

    >>> schema_of(Param("n", "integer", default=50, least=1, most=500))
    {'type': 'integer', 'minimum': 1, 'maximum': 500, 'default': 50}
    """
    text: dict[str, Any] = {"type": "string", "maxLength": param.most}
    schemas: dict[str, dict[str, Any]] = {
        "text": text,
        "integer": {"type": "integer", "minimum": param.least, "maximum": param.most},
        "choice": {"enum": list(param.choices)},
        "flag": {"type": "boolean"},
        "instant": {"type": "string", "format": "date-time"},
        "json": {},
        "texts": {"type": "array", "items": text},
    }
    schema = schemas[param.kind]
    return schema if param.default is None else {**schema, "default": param.default}


@cache
def _shared() -> dict[str, Any]:
    """The schemas of the command line."""
    text = files("redlock_beat").joinpath("schemas", "output.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text.replace('"#/$defs/', f'"{_REF}'))["$defs"]
    return found
