"""Writes kserve.json from KServe's custom resource definitions: what of their schemas our manifests can use.

    python -m tests.serve.deploy.schemas.trim COMMIT FOLDER      # FOLDER: config/crd/full of kserve/kserve at that commit

Left out: descriptions, parts for models of other kinds and for several nodes, and what a pod has of affinity, volumes
of rare kinds and the like. What is not in the trimmed schema is refused: a manifest that needs it wants it kept here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
KINDS = ("servingruntimes", "clusterservingruntimes", "inferenceservices")
PREDICTOR = {
    "model", "annotations", "labels", "minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "containerConcurrency",
    "timeout", "canaryTrafficPercent", "deploymentStrategy", "terminationGracePeriodSeconds", "serviceAccountName",
    "nodeSelector", "imagePullSecrets", "securityContext", "volumes",
}  # fmt: skip
VOLUMES = {"name", "emptyDir", "configMap", "secret", "persistentVolumeClaim"}
DROPPED = {"description", "affinity", "workerSpec", "tolerations", "resourceClaims", "builtInAdapter", "status"}
DEFAULTS = {"apiVersion", "kind", "metadata"}


def trimmed(schema: Any, path: tuple[str, ...] = ()) -> Any:
    """The same without what is left out; objects take no other members than they name."""
    if isinstance(schema, list):
        return [trimmed(s, path) for s in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, value in schema.items():
        if key == "properties":
            kept = {n: trimmed(s, (*path, n)) for n, s in value.items() if _kept(n, path)}
            found["properties"] = kept
            if not schema.get("x-kubernetes-preserve-unknown-fields") and path != ("metadata",):
                found["additionalProperties"] = False
        elif key != "description" and not key.startswith("x-kubernetes"):
            found[key] = trimmed(value, path)
    return found


def _kept(name: str, path: tuple[str, ...]) -> bool:
    if name in DROPPED and path[-1:] != ("properties",):
        return False
    if path == ("spec", "predictor"):
        return name in PREDICTOR
    if path == ("spec",):
        return name not in ("transformer", "explainer", "canary")
    if path[-1:] == ("volumes",):
        return name in VOLUMES
    return True


def main() -> None:
    """Write the file."""
    commit, folder = sys.argv[1:]
    schemas = {}
    for kind in KINDS:
        text = (Path(folder) / f"serving.kserve.io_{kind}.yaml").read_text()
        definition = yaml.safe_load(text)["spec"]
        for version in definition["versions"]:
            name = f"{definition['group']}/{version['name']} {definition['names']['kind']}"
            schemas[name] = trimmed(version["schema"]["openAPIV3Schema"])
    found = {
        "source": f"https://github.com/kserve/kserve, config/crd/full, commit {commit}, trimmed by trim.py",
        "licence": "Apache-2.0, Copyright The KServe Authors",
        "schemas": schemas,
    }
    (HERE / "kserve.json").write_text(json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
