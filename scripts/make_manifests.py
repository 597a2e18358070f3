"""Writes what is made from the Helm chart: the plain manifests, and the copies of its alerts and its dashboard.

    python scripts/make_manifests.py            write them
    python scripts/make_manifests.py --check    only say whether they are as they would be written
    python scripts/make_manifests.py --render   print as JSON what the chart becomes with each JSON object of values
                                                that is read, one a line

Helm itself renders, from the package `helm-python-sdk` (extra `test-deploy`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CHART = ROOT / "deploy" / "helm" / "redlock-beat"
PLAIN = ROOT / "deploy" / "kubernetes"
COMPOSE = ROOT / "examples" / "compose"
MARK = re.compile(r"(<!-- made: alerts -->\n+```yaml\n).*?(```\n+<!-- end -->)", re.DOTALL)

#: Where each template goes, and what the file says of itself.
FILES = {
    "beat": ("beat.yaml", "Three beats of the app `proj`"),
    "worker": ("options/worker.yaml", "Two workers of the app `proj`"),
    "page": ("options/page.yaml", "The schedule in a browser"),
    "monitoring": ("options/prometheus-operator.yaml", "Metrics and alerts, where the Prometheus operator runs"),
}
EVERYTHING = {
    "worker": {"enabled": True},
    "page": {"enabled": True},
    "monitoring": {"serviceMonitor": True, "alerts": True},
}


def rendered(values: dict[str, Any], namespace: str = "default") -> dict[str, str]:
    """What each template becomes, by its name without a suffix, for a release `proj`."""
    import helm_python

    with helm_python.Chart.load(CHART) as chart:
        found = chart.render(values, name="proj", namespace=namespace)
    return {Path(path).stem: text for path, text in found.items()}


def made() -> Iterator[tuple[Path, str]]:
    """Each file that is made, with its text."""
    texts = rendered(EVERYTHING)
    # Whoever applies them as they are says at that time into which namespace.
    texts["monitoring"] = texts["monitoring"].replace('namespace="default",', "")
    for name, (file, words) in FILES.items():
        head = f"# {words}. Made from the chart in deploy/helm by scripts/make_manifests.py.\n"
        yield PLAIN / file, head + re.sub(r"\n+", "\n", re.sub(r" +\n", "\n", texts[name])).lstrip()
    alerts = (CHART / "files" / "alerts.yaml").read_text("utf-8")
    yield COMPOSE / "prometheus" / "alerts.yaml", alerts
    dashboard = (CHART / "files" / "dashboard.json").read_text("utf-8")
    yield COMPOSE / "grafana" / "dashboards" / "redlock_beat.json", dashboard
    page = ROOT / "docs" / "howto" / "monitoring.md"
    yield page, MARK.sub(lambda found: found[1] + alerts + found[2], page.read_text("utf-8"))


def main(args: list[str]) -> int:
    """Write the files, or compare them."""
    if args == ["--render"]:
        print(json.dumps([rendered(json.loads(line)) for line in sys.stdin]))
        return 0
    stale = [(path, text) for path, text in made() if not path.exists() or path.read_text("utf-8") != text]
    for path, text in stale:
        print(f"{'is not as it would be made' if args else 'written'}: {path.relative_to(ROOT)}")
        if not args:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return 1 if stale and args else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
