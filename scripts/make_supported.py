"""Makes the table of docs/supported.md from docs/supported.json, which `nox -s matrix` writes.

python scripts/make_supported.py             write the table
python scripts/make_supported.py --check     only say whether it is as it would be written
python scripts/make_supported.py --versions  say, as JSON, which versions and servers are tested here
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- made by scripts/make_supported.py -->\n", "<!-- end -->\n"


def versions() -> dict[str, Any]:
    """The versions of this environment, and the servers on which the tests run."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.servers import KINDS, binary

    found: dict[str, Any] = {"python": ".".join(map(str, sys.version_info[:3]))}
    found |= {name: version(name) for name in ("celery", "kombu", "redis")}
    found["servers"] = sorted({server_of(path) for kind in KINDS if (path := binary(kind))})
    return found


def server_of(path: str) -> str:
    """What a server says of itself."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - a server's path
    return read_version(done.stdout)


def read_version(text: str) -> str:
    """The name and the number in what a server says of itself."""
    found = re.match(r"(\w+) server v=([\d.]+)", text)
    if found is None:
        raise SystemExit(f"no version of a server: {text[:100]!r}")
    return f"{found[1]} {found[2]}"


def number(text: str) -> tuple[int, ...]:
    """A version for sorting."""
    return tuple(int(part) for part in re.findall(r"\d+", text))


def table(results: list[dict[str, Any]]) -> str:
    """The rows: a release of Celery with its redis-py, and the Pythons with which the tests passed."""
    pythons = sorted({".".join(one["python"].split(".")[:2]) for one in results}, key=number)
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for one in results:
        row = rows.setdefault((one["celery"], one["kombu"], one["redis"]), {})
        row[".".join(one["python"].split(".")[:2])] = "passed" if one["passed"] else "failed"
    head = ["Celery", "kombu", "redis-py", *(f"Python {one}" for one in pythons)]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += [
        "| " + " | ".join([*row, *(rows[row].get(one, "not run") for one in pythons)]) + " |"
        for row in sorted(rows, key=lambda names: [number(one) for one in names])
    ]
    servers = sorted({server for one in results for server in one["servers"]})
    exact = sorted({one["python"] for one in results}, key=number)
    return (
        "\n".join(lines) + f"\n\nEach on {', '.join(servers)}. The Pythons were {', '.join(exact)}.\n"
        f"Run on {max(one['on'] for one in results)}.\n"
    )


def main() -> None:
    if "--versions" in sys.argv:
        print(json.dumps(versions()))
        return
    page = DOCS / "supported.md"
    text = page.read_text("utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    made = before + BEGIN + "\n" + table(json.loads((DOCS / "supported.json").read_text("utf-8"))) + "\n" + END + after
    if "--check" in sys.argv:
        if made != text:
            raise SystemExit("docs/supported.md is not what was tested: run python scripts/make_supported.py")
    else:
        page.write_text(made, "utf-8")


if __name__ == "__main__":
    main()
