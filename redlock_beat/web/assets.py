"""Own style and script: served under names that carry a digest, so that browsers may keep them for a year."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files

from .http import Response

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_KEPT = ("Cache-Control", "public, max-age=31536000, immutable")


@cache
def _assets() -> dict[str, tuple[str, bytes]]:
    """Name -> the name with its digest, and the content."""
    found = {}
    for one in files(__package__).joinpath("static").iterdir():
        name, _, kind = one.name.rpartition(".")
        if kind in _TYPES:
            content = one.read_bytes()
            found[one.name] = (f"{name}.{hashlib.sha256(content).hexdigest()[:12]}.{kind}", content)
    return found


def path_of(name: str) -> str:
    """The path of a file: ``/static/style.<digest>.css``."""
    return f"/static/{_assets()[name][0]}"


def served(path: str) -> Response | None:
    """The file of a path; None when there is none. One of an older release is gone, and the page links the new one."""
    for name, content in _assets().values():
        if path == f"/static/{name}":
            return Response(200, content, _TYPES[name.rpartition(".")[2]], (_KEPT,))
    return None
