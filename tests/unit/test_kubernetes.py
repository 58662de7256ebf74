"""The manifests: valid for Kubernetes, and every command, setting, port, page and metric in them exists in the program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from lumenstream.cli.main import build
from lumenstream.masking import leaves
from lumenstream.settings import Settings, load_settings
from lumenstream.status import targets
from producers import sources
from tests.unit.test_house import REPOSITORY, metric_names, names_in

# It has no types: mypy sees what is used here.
kubernetes_validate: Any = import_module("kubernetes_validate")

FOLDER = REPOSITORY / "ops/kubernetes"
BASE = FOLDER / "base"
VERSION = "1.31"  # the oldest Kubernetes that these are for
PAGES = {"/health", "/ready", "/metrics"}
COMPONENT = "app.kubernetes.io/component"
RPC_URL = "LUMENSTREAM_PRODUCER__RPC_URL"
PORTS = {
    "producer": "producer.http_port",
    "worker": "process.http_port",
    "sink": "sink.http_port",
    "publisher": "publisher.http_port",
    "maintenance": "maintenance.http_port",
    "enrichment": "enrich.http_port",
    "api": "api.port",
}
JOBS = ("migrate", "bootstrap")
BACKFILL_PORTS = {"backfill-worker": "process.http_port", "backfill-sink": "backfill.http_port"}
LISTENING = PORTS | BACKFILL_PORTS


def documents(path: Path) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found is not None]


def resources() -> list[dict[str, Any]]:
    kustomization = documents(BASE / "kustomization.yaml")[0]
    return [found for name in kustomization["resources"] for found in documents(BASE / name)]


def of_kind(*kinds: str) -> dict[str, dict[str, Any]]:
    return {found["metadata"]["name"]: found for found in resources() if found["kind"] in kinds}


def beside_the_base() -> list[dict[str, Any]]:
    """What is applied by itself, when somebody wants it."""
    return [found for name in ("backfill-job", "backfill-roles", "watching") for found in documents(FOLDER / f"{name}.yaml")]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and template of everything that runs."""
    for found in [*resources(), *beside_the_base()]:
        if found["kind"] in ("Deployment", "Job"):
            yield found["metadata"]["name"], found["spec"]["template"]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods():
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            yield name, container


def command_lines() -> dict[str, list[str]]:
    """Arguments by the name of the container."""
    return {container["name"]: container["args"] for _, container in containers()}


def defaults() -> dict[str, Any]:
    return {leaf.path: leaf.value for leaf in leaves(Settings.model_construct(), {})}


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    sets = {entry["key"]: entry["values"] for entry in selector.get("matchExpressions", [])}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(labels.get(key) in sets[key] for key in sets)


def test_kubernetes_takes_every_manifest() -> None:
    found = [*resources(), *beside_the_base(), *documents(BASE / "secret.example.yaml")]
    assert len(found) > 20
    for manifest in found:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found[0] | {"dta": {}}, VERSION, strict=True)


def test_the_base_names_every_file_and_no_resource_twice() -> None:
    listed = set(documents(BASE / "kustomization.yaml")[0]["resources"])
    assert listed | {"kustomization.yaml", "secret.example.yaml"} == {path.name for path in BASE.glob("*.yaml")}
    names = [(found["kind"], found["metadata"]["name"]) for found in resources()]
    assert len(set(names)) == len(names)


def test_every_role_has_a_deployment_with_its_command_and_port() -> None:
    deployments, services = of_kind("Deployment"), of_kind("Service")
    assert deployments.keys() == PORTS.keys()
    for name, setting in PORTS.items():
        assert services[name]["spec"]["ports"][0]["port"] == defaults()[setting], name
        annotations = deployments[name]["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(defaults()[setting]), name


def test_every_command_line_is_one_of_ours() -> None:
    known = getattr(typer.main.get_command(build()), "commands")  # noqa: B009 (a group, typed as a command)
    parsed = {name: known[args[0]].make_context(args[0], args[1:]).params for name, args in command_lines().items()}
    assert len(parsed) == len(PORTS) + len(JOBS) + 4
    assert parsed["backfill-worker"]["backfill"] and parsed["backfill-sink"]["backfill"] and not parsed["sink"]["backfill"]


def test_a_backfill_reads_a_lake_whatever_the_source_of_the_pipeline_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: a recipe that took the ConfigMap's RPC server, which has no history."""
    for name, value in of_kind("ConfigMap")["lumenstream"]["data"].items():
        monkeypatch.setenv(name, value)
    known = getattr(typer.main.get_command(build()), "commands")  # noqa: B009 (a group, typed as a command)
    job = known["backfill"].make_context("backfill", command_lines()["backfill"][1:]).params
    assert job["start"] < job["end"] and (job["workers"], job["sinks"]) == (2, 1)
    settings = load_settings(producer__source=job["source"])
    assert (load_settings().producer.source, settings.producer.source) == ("rpc", "lake")
    sources.check(settings)


def test_what_is_beside_the_base_has_its_namespace_from_the_command_and_the_image_of_the_base() -> None:
    base = documents(BASE / "kustomization.yaml")[0]
    (image,) = base["images"]
    for found in beside_the_base():
        assert "namespace" not in found["metadata"]
        assert base["labels"][0]["pairs"].items() <= found["metadata"]["labels"].items()
        if found["kind"] != "NetworkPolicy":
            pod = found["spec"]["template"]
            assert pod["metadata"]["labels"] == found["metadata"]["labels"]
            assert [container["image"] for container in pod["spec"]["containers"]] == [f"{image['newName']}:{image['newTag']}"]
            assert pod["metadata"]["labels"][COMPONENT] == found["metadata"]["name"] == pod["spec"]["containers"][0]["name"]
            ports = [port["containerPort"] for container in pod["spec"]["containers"] for port in container.get("ports", [])]
            told = [value for name, value in pod["metadata"].get("annotations", {}).items() if name == "prometheus.io/port"]
            assert told == [str(port) for port in ports], "whoever serves metrics is scraped"
    files = [line.rpartition(" -f ")[2] for line in commands("Backfill") if " apply " in line]
    assert files == ["backfill-job.yaml", "backfill-roles.yaml", "backfill-job.yaml"]


def test_probes_ask_for_pages_that_are_there_and_pods_are_confined() -> None:
    for name, container in containers():
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if name in LISTENING:
                assert container[probe]["httpGet"]["path"] in PAGES and container[probe]["httpGet"]["port"] == "http", name
        if name in LISTENING:
            assert container["ports"] == [{"name": "http", "containerPort": defaults()[LISTENING[name]]}], name
            assert container["livenessProbe"]["httpGet"]["path"] == "/metrics", "a role that waits must not be restarted"
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"], name
        assert container["securityContext"]["readOnlyRootFilesystem"] and container["image"].partition(":")[0] == "lumenstream"
    user = re.search(r"^USER (\d+)$", (REPOSITORY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert user is not None
    for name, pod in pods():
        assert pod["spec"]["securityContext"]["runAsUser"] == int(user[1]), name
        assert name not in LISTENING or pod["spec"]["terminationGracePeriodSeconds"] >= 40, name


def test_settings_exist_and_are_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = of_kind("ConfigMap")["lumenstream"]["data"] | documents(BASE / "secret.example.yaml")[0]["stringData"]
    known = {leaf.variable for leaf in leaves(Settings.model_construct(), {})}
    assert {name for name in values if name.startswith("LUMENSTREAM_")} - known == set()
    assert set(values) - known == {"PGPASSWORD"}
    monkeypatch.chdir(tmp_path)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    named = re.findall(r"(\S+?)=http://([a-z-]+):(\d+)", settings.status.targets.replace(",", " "))
    assert {role for role, _, _ in named} == PORTS.keys() <= set(targets.KINDS)
    services = of_kind("Service")
    for role, service, port in named:
        assert services[service]["spec"]["selector"] == {COMPONENT: role}
        assert services[service]["spec"]["clusterIP"] == "None", "every member by itself"
        assert int(port) == defaults()[PORTS[role]]


def test_selectors_find_pods_and_policies_open_the_right_ports() -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods()}
    for found in [found for found in [*resources(), *beside_the_base()] if found["kind"] == "Deployment"]:
        assert matches(found["spec"]["selector"], found["spec"]["template"]["metadata"]["labels"])
    for name, budget in of_kind("PodDisruptionBudget").items():
        assert [role for role, found in labels.items() if matches(budget["spec"]["selector"], found)] == [name]
    policies = of_kind("NetworkPolicy")
    chosen = [name for policy in policies.values() for name in labels if matches(policy["spec"]["podSelector"], labels[name])]
    assert sorted(chosen) == sorted(labels), "every pod is under one policy"
    ports = {port["port"] for policy in policies.values() for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    assert ports == {defaults()[setting] for setting in LISTENING.values()}
    (watching,) = [found["spec"] for found in beside_the_base() if found["kind"] == "NetworkPolicy"]
    assert [name for name in labels if matches(watching["podSelector"], labels[name])] == ["api"]
    assert watching["policyTypes"] == ["Egress"], "what may reach the API stays as it is"


def commands(section: str) -> list[str]:
    """The shell commands under a heading of the README, one a line, loops written out."""
    text = re.split(rf"^## {section}$", (FOLDER / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    blocks = re.findall(r"```sh\n(.*?)```", re.split(r"^## ", text, flags=re.MULTILINE)[0], re.DOTALL)
    written_out = re.sub(
        r"^for role in (.+); do\n((?:  .+\n)+)done$",
        lambda loop: "".join(loop[2].replace("$role", role) for role in loop[1].split()),
        "".join(blocks),
        flags=re.MULTILINE,
    )
    return [line.partition(" #")[0].strip() for line in written_out.splitlines()]


def applied(lines: list[str]) -> list[str]:
    """The components in the order in which they are applied. Nothing may be applied whole."""
    found = [re.fullmatch(rf"kubectl apply -k base -l {re.escape(COMPONENT)}=([a-z]+)", line) for line in lines if " -k " in line]
    assert all(found), lines
    return [match[1] for match in found if match]


def test_everything_is_of_one_component_so_that_it_can_be_applied_by_itself() -> None:
    of = {(found["kind"], found["metadata"]["name"]): found["metadata"]["labels"][COMPONENT] for found in resources()}
    assert set(of.values()) == {*PORTS, *JOBS, "shared"}
    for name in (*PORTS, *JOBS):
        kind = "Job" if name in JOBS else "Deployment"
        assert of[kind, name] == name
        assert all(component == name for (_, other), component in of.items() if other in (name, f"{name}-members"))


def test_the_first_start_bootstraps_before_a_sink_holds_the_writer_s_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: a base with a source and no archive, and instructions that never said bootstrap."""
    for name, value in of_kind("ConfigMap")["lumenstream"]["data"].items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.archive.url and settings.network.name == "pubnet"
    sources.check(load_settings(producer__rpc_url=documents(BASE / "secret.example.yaml")[0]["stringData"][RPC_URL]))
    lines = commands("First start")
    first, late = lines[: lines.index("kubectl -n lumenstream scale deployment/sink --replicas=0")], lines[len(lines) - 6 :]
    assert applied(first) == ["shared", *JOBS, "worker", "sink", "publisher", "maintenance", "enrichment", "api", "producer"]
    assert applied(late) == ["bootstrap"] and late[-1].endswith("scale deployment/sink --replicas=2")
    for job in JOBS:
        apply = first.index(f"kubectl apply -k base -l {COMPONENT}={job}")
        assert re.fullmatch(rf"kubectl -n lumenstream wait --for=condition=complete --timeout=\d+h job/{job}", first[apply + 1])


def test_an_upgrade_waits_for_the_new_schema_and_then_for_each_role() -> None:
    """Guards: one apply of all, which rolled every role on the old schema and failed at the Job."""
    lines = commands("Upgrade")
    roles = applied(lines)[2:]
    assert applied(lines)[:2] == ["shared", "migrate"] and sorted(roles) == sorted(PORTS)
    assert roles[:2] == ["worker", "sink"] and roles[-1] == "producer"
    delete, apply, wait = (
        next(at for at, line in enumerate(lines) if found in line)
        for found in ("delete job migrate --ignore-not-found", f"{COMPONENT}=migrate", "job/migrate")
    )
    assert (delete, apply, wait) == (1, 2, 3)
    for at, role in enumerate(roles):
        assert lines[4 + 2 * at + 1] == f"kubectl -n lumenstream rollout status --timeout=15m deployment/{role}"


def test_workers_scale_on_a_metric_of_ours_up_to_the_partitions() -> None:
    scalers = of_kind("HorizontalPodAutoscaler")
    for name, scaler in scalers.items():
        assert scaler["spec"]["scaleTargetRef"]["name"] == name
        assert "replicas" not in of_kind("Deployment")[name]["spec"], "an apply would undo what the autoscaler did"
    worker = scalers["worker"]["spec"]
    partitions = of_kind("ConfigMap")["lumenstream"]["data"]["LUMENSTREAM_KAFKA__PARTITIONS"]
    assert worker["maxReplicas"] == int(partitions)
    (rule,) = documents(FOLDER / "adapter-rules.yaml")[0]["externalRules"]
    assert worker["metrics"][0]["external"]["metric"]["name"] == rule["name"]["as"]
    assert names_in(rule["metricsQuery"]) | {rule["seriesQuery"]} <= metric_names()
