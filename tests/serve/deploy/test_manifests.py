"""What is in deploy/: manifests against the schemas of what reads them, and their commands against our own parser."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from fanal.cli.serving import add_parser
from fanal.serve.settings import Settings
from tests.serve import models
from tests.serve.soak.server import Server

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
SCHEMAS = json.loads((Path(__file__).parent / "schemas" / "kserve.json").read_text())["schemas"]


def documents(folder: str) -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / folder).glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


KSERVE, KUBERNETES = list(documents("kserve")), list(documents("kubernetes"))


def title(document: dict[str, Any]) -> str:
    return f"{document['kind']}-{document['metadata']['name']}"


@pytest.mark.parametrize("document", KSERVE, ids=title)
def test_kserve_accepts_it(document: dict[str, Any]) -> None:
    jsonschema_rs.validate(SCHEMAS[f"{document['apiVersion']} {document['kind']}"], document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["spec", "protocolVersion"], ["v2"]), (["spec", "supportedModelFormats", 0, "auto"], True),
        (["spec", "containers", 0, "readinessProbe", "httpGet", "port"], [1]), (["spec", "containers", 0, "image"], 3),
        (["spec", "terminationGracePeriodSeconds"], 40),
    ],
)  # fmt: skip
def test_a_mistake_in_a_runtime_would_be_found(path: list[Any], value: Any) -> None:
    document = json.loads(json.dumps(next(d for d in KSERVE if d["kind"] == "ClusterServingRuntime")))
    at = document
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(SCHEMAS["serving.kserve.io/v1alpha1 ClusterServingRuntime"], document)


@pytest.mark.parametrize("document", KUBERNETES, ids=title)
def test_kubernetes_accepts_it(document: dict[str, Any]) -> None:
    """Against the schemas of the package kubernetes-validate, where it is installed."""
    validator = pytest.importorskip("kubernetes_validate")
    validator.validate(document, validator.latest_version(), strict=True)


def settings_of(arguments: list[str]) -> tuple[str, Settings]:
    """What `fanal serve` would be started with."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_parser(parser.add_subparsers())
    (serve,) = parser._subparsers._group_actions[0].choices.values()  # type: ignore[union-attr]
    serve.later(serve)
    found = serve.parse_args([a.replace("{{.Name}}", "digits") for a in arguments])
    given = {k: v for k in Settings.model_fields if (v := getattr(found, k, None)) is not None}
    return found.path, Settings(**given)


def pod(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pod's specification and its only container."""
    spec = document["spec"] if document["kind"] == "ClusterServingRuntime" else document["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    return spec, container


RUNTIME = next(d for d in KSERVE if d["kind"] == "ClusterServingRuntime")
DEPLOYMENT = next(d for d in KUBERNETES if d["kind"] == "Deployment")


@pytest.mark.parametrize("document", [RUNTIME, DEPLOYMENT], ids=title)
def test_the_server_understands_its_arguments_and_has_what_it_needs(document: dict[str, Any]) -> None:
    spec, container = pod(document)
    path, settings = settings_of(container["args"])
    assert settings.host == "0.0.0.0" and settings.admin_port is None
    ports = {settings.http_port, settings.grpc_port, settings.metrics_port}
    assert {p["containerPort"] for p in container["ports"]} <= ports
    named = {p["name"]: p["containerPort"] for p in container["ports"]}
    for probe, asked in (("startupProbe", "ready"), ("readinessProbe", "ready"), ("livenessProbe", "live")):
        get = container[probe]["httpGet"]
        assert get["path"] == f"/v2/health/{asked}" and named.get(get["port"], get["port"]) == settings.http_port
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"] and security["capabilities"]["drop"] == ["ALL"]
    mounts = {m["mountPath"] for m in container["volumeMounts"]}
    assert "/var/cache" in mounts and {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in spec["volumes"]}
    assert path in ("/models", "/mnt/models")


def test_pods_wait_for_the_drain() -> None:
    graces = [d["spec"]["predictor"]["terminationGracePeriodSeconds"] for d in KSERVE if d["kind"] == "InferenceService"]
    for document, grace in [(RUNTIME, min(graces)), (DEPLOYMENT, DEPLOYMENT["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])]:
        _, container = pod(document)
        _, settings = settings_of(container["args"])
        before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert grace > before + settings.drain_timeout


def test_services_find_what_they_select() -> None:
    names = {p["name"] for p in pod(DEPLOYMENT)[1]["ports"]}
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    for document in KUBERNETES:
        if document["kind"] == "Service":
            assert document["spec"]["selector"].items() <= labels.items()
            assert {p["targetPort"] for p in document["spec"]["ports"]} <= names
        if document["kind"] == "HorizontalPodAutoscaler":
            assert document["spec"]["scaleTargetRef"]["name"] == DEPLOYMENT["metadata"]["name"]
    for document in KSERVE:
        if document["kind"] == "InferenceService":
            model = document["spec"]["predictor"]["model"]
            assert model["modelFormat"]["name"] in {f["name"] for f in RUNTIME["spec"]["supportedModelFormats"]}
            assert model["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]


# -- the image --------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Of the container file, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())]


def last(word: str) -> str:
    return next(rest for found, rest in reversed(instructions()) if found == word)


def test_the_image_starts_a_server_that_nobody_else_can_use() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["fanal", "serve"]
    command = json.loads(last("CMD"))
    with pytest.raises(ValueError, match="without keys"):  # it says what is missing, rather than being open
        settings_of(command)
    path, settings = settings_of([*command, "--insecure"])
    assert path == "/models" and set(last("EXPOSE").split()) == {str(p) for p in (settings.http_port, settings.grpc_port, settings.metrics_port)}
    assert int(last("USER").split(":")[0]) > 0 and last("STOPSIGNAL") == "SIGTERM"


def test_the_image_is_made_of_files_that_are_there() -> None:
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignored[0] == "*"
    for names in copied:
        for name in names:
            assert (ROOT / name).exists() and f"!{name}" in ignored
    read = re.search(r'readme = "(.+)"', (ROOT / "pyproject.toml").read_text())
    assert read and f"!{read[1]}" in ignored


def test_the_health_check_asks_our_server(tmp_path: Path) -> None:
    _, _, command = last("HEALTHCHECK").partition("CMD ")
    _, *arguments = json.loads(command)
    models.adding(tmp_path / "m.fanal", 1)
    with Server(tmp_path / "m.fanal", tmp_path) as server:
        asked = [a.replace(":8000/", f":{server.port}/") for a in arguments]
        assert asked != arguments
        assert subprocess.run([sys.executable, *asked]).returncode == 0
        server.kill()
        assert subprocess.run([sys.executable, *asked], stderr=subprocess.DEVNULL).returncode != 0
