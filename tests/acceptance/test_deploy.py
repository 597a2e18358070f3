"""What is in deploy/ and examples/compose/ is valid, safe and true: the chart, the manifests, the image, the services."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from prometheus_client import CollectorRegistry

import redlock_beat
from redlock_beat.beat.metrics import PrometheusHook
from redlock_beat.liveness import HeartbeatFile
from tests.beats import ROOT

if not os.environ.get("CI"):  # there they are not left out
    for module in ("check_jsonschema", "cloudcoil", "helm_python", "kubernetes_validate", "promql_parser"):
        pytest.importorskip(module, reason="pip install 'redlock-beat[test-deploy]'")

import check_jsonschema
import kubernetes_validate
import promql_parser
from cloudcoil.models.prometheus_operator import v1 as operator

COMPOSE = ROOT / "examples" / "compose"
CHART = ROOT / "deploy" / "helm" / "redlock-beat"
PLAIN = sorted((ROOT / "deploy" / "kubernetes").rglob("*.yaml"))
#: The oldest Kubernetes whose schema is at hand and that the chart allows, and the newest.
VERSIONS = ("1.28", ".".join(kubernetes_validate.latest_version().split(".")[:2]))

EVERYTHING = {
    "worker": {"enabled": True},
    "page": {"enabled": True, "readOnly": True, "proxies": ["10.0.0.0/8"], "origins": ["https://beat.example.org"]},
    "monitoring": {"serviceMonitor": True, "alerts": True, "dashboard": True, "labels": {"release": "prometheus"}},
    "env": [{"name": "MODE", "value": "production"}],
    "image": {"pullSecrets": [{"name": "registry"}]},
    "beat": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "spot", "operator": "Exists"}]},
    "networkPolicy": {"ports": [6379, 5672], "workerEgress": [{"ports": [{"port": 443, "protocol": "TCP"}]}]},
}
BARE = {"metricsPort": 0, "networkPolicy": {"enabled": False}}


def helm(*values):
    """What Helm makes of the chart with each of these values: in a process of its own, since Helm brings Go's runtime."""
    command = [sys.executable, ROOT / "scripts" / "make_manifests.py", "--render"]
    lines = "".join(f"{json.dumps(one)}\n" for one in values)
    return subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def rendered():
    """The documents of the chart: with its defaults, with everything, and with as little as can be."""
    made = helm({}, EVERYTHING, BARE)
    assert made.returncode == 0, made.stderr
    kinds = zip(("defaults", "everything", "bare"), json.loads(made.stdout), strict=True)
    return {name: documents("\n---\n".join(v for k, v in one.items() if k != "NOTES")) for name, one in kinds}


def documents(text):
    return [one for one in yaml.safe_load_all(text) if one is not None]


@pytest.fixture(scope="module")
def plain():
    return [one for path in PLAIN for one in documents(path.read_text("utf-8"))]


@pytest.fixture(params=["defaults", "everything", "bare", "plain"])
def manifests(request, rendered, plain):
    return plain if request.param == "plain" else rendered[request.param]


def of(manifests, kind, name=None):
    found = [one for one in manifests if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert found or name is None, f"no {kind} {name}"
    return found


# --- Kubernetes ---


def test_every_manifest_is_as_kubernetes_and_the_operator_want_it(manifests):
    for one in manifests:
        if one["apiVersion"].startswith("monitoring.coreos.com/"):
            model = getattr(operator, one["kind"])
            assert unknown(model, one) == []
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(one, version, strict=True)


def unknown(model, document):
    """The fields that a model does not know; the operator drops such without a word."""
    parsed = model.model_validate(document).model_dump(by_alias=True, exclude_none=True, mode="json")
    return list(missing(document, parsed))


def missing(given, known, path=""):
    if isinstance(given, dict):
        for key, value in given.items():
            if key not in known:
                yield f"{path}.{key}"
            else:
                yield from missing(value, known[key], f"{path}.{key}")
    elif isinstance(given, list):
        for index, (one, other) in enumerate(zip(given, known, strict=True)):
            yield from missing(one, other, f"{path}[{index}]")


def test_a_wrong_field_would_be_found(plain):
    wrong = json.loads(json.dumps(of(plain, "Deployment", "proj-beat")[0]))
    wrong["spec"]["template"]["spec"]["terminationGraceSeconds"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[1], strict=True)
    monitor = json.loads(json.dumps(of(plain, "ServiceMonitor")[0]))
    monitor["spec"]["endpoints"][0]["every"] = "15s"
    assert unknown(operator.ServiceMonitor, monitor) == [".spec.endpoints[0].every"]


def test_values_that_the_chart_does_not_know_are_refused():
    for wrong in ({"replica": 3}, {"beat": {"replicas": "many"}}, {"page": {"port": 0}}, {"user": 0}):
        made = helm(wrong)
        assert made.returncode != 0, wrong
        assert "values don't meet the specifications of the schema" in made.stderr
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assert values.keys() == schema["properties"].keys() - {"global"}
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["version"] == chart["appVersion"] == redlock_beat.__version__


def test_pods_may_do_nothing_that_they_need_not(manifests):
    for deployment in of(manifests, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert {"hostNetwork", "hostPID", "hostIPC"} & pod.keys() == set()
        [volume] = pod["volumes"]
        assert volume["emptyDir"]["sizeLimit"]
        for container in pod["containers"]:
            may = container["securityContext"]
            assert (may["readOnlyRootFilesystem"], may["allowPrivilegeEscalation"]) == (True, False)
            assert may["capabilities"] == {"drop": ["ALL"]}
            assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tmp"}]
            assert {*container["resources"]["requests"], *container["resources"]["limits"]} == {"cpu", "memory"}
            assert container["command"][:2] == ["celery", "-A"], "no shell around it"
            for variable in container["env"]:
                assert "value" not in variable or "://" not in variable["value"], (
                    "an address with a password is a secret"
                )


def test_what_chooses_pods_chooses_those_of_one_kind(manifests):
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in of(manifests, "Deployment")
    }

    def chosen(selector):
        return [name for name, labels in pods.items() if selector.items() <= labels.items()]

    for one in manifests:
        name, spec = one["metadata"]["name"], one.get("spec", {})
        if one["kind"] in ("Deployment", "PodDisruptionBudget"):
            assert chosen(spec["selector"]["matchLabels"]) == [name]
        elif one["kind"] == "Service":
            assert chosen(spec["selector"]) == [name]
        elif one["kind"] == "NetworkPolicy":
            assert chosen(spec["podSelector"]["matchLabels"]) == [name]
        elif one["kind"] == "ServiceMonitor":
            services = {other["metadata"]["name"]: other["metadata"]["labels"] for other in of(manifests, "Service")}
            wanted = spec["selector"]["matchLabels"].items()
            assert [key for key, labels in services.items() if wanted <= labels.items()] == [name]


def test_a_policy_lets_pods_reach_what_they_need_and_be_reached_where_they_listen(manifests):
    for policy in of(manifests, "NetworkPolicy"):
        [deployment] = of(manifests, "Deployment", policy["metadata"]["name"])
        listens = [
            one["containerPort"] for one in deployment["spec"]["template"]["spec"]["containers"][0].get("ports", [])
        ]
        opened = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
        assert opened == listens
        reached = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
        assert {53, 6379} <= set(reached)


def test_the_alerts_of_a_release_are_about_its_own_beats(rendered):
    [rule] = of(rendered["everything"], "PrometheusRule")
    for one in rule["spec"]["groups"][0]["rules"]:
        assert one["expr"].count("{") == one["expr"].count('{namespace="default",job="proj-beat"}')
    [dashboard] = of(rendered["everything"], "ConfigMap")
    assert json.loads(dashboard["data"]["redlock_beat.json"])["title"] == "redlock_beat"


def test_the_plain_manifests_are_those_of_the_chart():
    command = [sys.executable, ROOT / "scripts" / "make_manifests.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + "run python scripts/make_manifests.py"


# --- the probe ---


def probe(plain, kind, files):
    """What a probe of the manifests says here, with other files to look at."""
    [beat] = of(plain, "Deployment", "proj-beat")
    command = beat["spec"]["template"]["spec"]["containers"][0][kind]["exec"]["command"]
    assert command[2].count("/tmp/redlock-beat-*/*.beat") == 1
    command = [*command[:2], command[2].replace("/tmp/redlock-beat-*/*.beat", f"{files}/*.beat"), *command[3:]]
    return subprocess.run(command, capture_output=True, timeout=30, env={"PATH": os.environ["PATH"]}).returncode == 0


def test_the_probe_reads_the_heartbeat_file_as_the_package_writes_it(plain, tmp_path):
    def says():
        return tuple(probe(plain, kind, tmp_path) for kind in ("startupProbe", "livenessProbe", "readinessProbe"))

    assert says() == (False, False, False), "before the first turn there is no file"
    path = tmp_path / "1.beat"
    beat = HeartbeatFile(str(path), allowed=60)
    beat.touch()
    assert says() == (True, True, False), "Redis is away"
    beat.touch(ready=True)
    assert says() == (True, True, True)
    words = path.read_text().split()
    fresh = list(words)
    words[3] = f"{float(words[3]) - 61:017.3f}"
    path.write_text(" ".join(words) + "\n")
    assert says() == (False, False, False), "the loop is stuck"
    words = list(fresh)
    words[2] = str(int(words[2]) + 1)
    path.write_text(" ".join(words) + "\n")
    assert says() == (False, False, False), "what an earlier process of the same number has left behind"
    (tmp_path / "2.beat").write_text(" ".join(fresh) + "\n")
    assert says() == (True, True, True), "one of two is alive"
    for rubbish in ("", "\n", "rubbish\n", "redlock_beat\n", "redlock_beat 1 $(touch hacked) 9e999 9e999 ready\n"):
        path.write_text(rubbish)
        (tmp_path / "2.beat").unlink(missing_ok=True)
        assert says() == (False, False, False), rubbish


# --- metrics ---


def names():
    """The names under which the metrics of the code are asked for, and the labels that each has."""
    registry = CollectorRegistry()
    PrometheusHook(registry)
    found = {}
    for metric, all_names in registry._collector_to_names.items():
        for name in all_names:
            if not name.endswith("_created"):
                found[name] = {*metric._labelnames, *(["le"] if name.endswith("_bucket") else [])}
    return found


def selectors(expression):
    """The series that an expression asks for; it must be one of PromQL."""
    found = []

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node.name)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def expressions():
    rules = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text("utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    dashboard = json.loads((COMPOSE / "grafana" / "dashboards" / "redlock_beat.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"].replace("$__rate_interval", "5m").replace("$job", "beat")
    for variable in dashboard["templating"]["list"]:
        if found := re.fullmatch(r"label_values\((.+), \w+\)", variable.get("definition", "")):
            yield f"variable {variable['name']}", found[1]


def test_every_metric_that_alerts_and_the_dashboard_name_is_one_of_the_code():
    known = names()
    asked = {}
    for where, expression in expressions():
        for name in selectors(expression):
            assert name in known or name == "up", f"{where} asks for {name}, which no beat serves"
            asked.setdefault(name, []).append(where)
        for label in re.findall(r"by \((\w+)\)", expression):
            own = {label for name in selectors(expression) for label in known[name]}
            assert label in own, f"{where} sums by {label}, which none of its metrics has"
    assert len(asked) > 15, asked


# --- the image and the services ---


def test_the_services_are_as_compose_wants_them():
    compose = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))
    schema = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    errors = list(Draft202012Validator(json.loads(schema.read_text("utf-8"))).iter_errors(compose))
    assert errors == []
    services = compose["services"]
    assert services.keys() == {"redis", "beat", "worker", "page", "flower", "prometheus", "grafana"}
    assert services["beat"]["deploy"]["replicas"] == 3
    for name, service in services.items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in compose["volumes"] or (COMPOSE / source).exists(), f"{name}: {source}"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "nobody else is let in"


def test_prometheus_asks_and_grafana_shows_what_there_is():
    found = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yaml").read_text("utf-8"))
    [job] = found["scrape_configs"]
    [where] = job["dns_sd_configs"]
    project = (COMPOSE / "proj.py").read_text("utf-8")
    assert f"redlock_beat_metrics_port = {where['port']}" in project
    assert (job["job_name"], where["names"]) == ("beat", ["beat"])
    assert [(COMPOSE / "prometheus" / one).exists() for one in found["rule_files"]] == [True]
    provisioning = COMPOSE / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((provisioning / "dashboards" / "redlock_beat.yaml").read_text("utf-8"))["providers"]
    mounts = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    assert values["metricsPort"] == where["port"]


def test_the_image_runs_what_the_manifests_run_as_the_same_user(plain):
    lines = re.sub(r"\\\n", " ", (COMPOSE / "Dockerfile").read_text("utf-8")).splitlines()
    last = lines[max(index for index, line in enumerate(lines) if line.startswith("FROM ")) :]
    [command] = [json.loads(line.removeprefix("CMD ")) for line in last if line.startswith("CMD ")]
    [beat] = of(plain, "Deployment", "proj-beat")
    pod = beat["spec"]["template"]["spec"]
    assert command == pod["containers"][0]["command"]
    user, group = pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]
    assert f"USER {user}:{group}" in last
    assert not [line for line in last if "ENTRYPOINT" in line]
    copied = [
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    allowed = [line[1:] for line in (COMPOSE / ".dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"]
    assert set(copied) == set(allowed)


def test_the_image_passes_hadolint():
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", COMPOSE / "Dockerfile"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
