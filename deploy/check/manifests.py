"""What schemas do not say of the files the service is deployed from; and the Kubernetes manifests against theirs."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft7Validator

sys.path.insert(0, str(Path(__file__).parent))
from composed import COMPOSE, OVER, ROOT, composed

KUBERNETES = ROOT / "deploy" / "kubernetes"
PROJECTS_OWN = ("umbel-api", "umbel-worker")  # built here
NO_HEALTH = {
    "migrate",
    "backup",
    "s3-volume",
    "celery-exporter",
}  # they end by themselves, or the image has no tool to ask


def complaints() -> Iterator[str]:
    yield from _compose(composed(OVER)["services"])
    yield from _variables()
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield from (f"{path.relative_to(ROOT)}: {one}" for one in _manifest(document))
    yield from _kustomized()
    yield from _scraped()
    for path in (ROOT / "deploy" / "grafana").rglob("*.json"):
        yield from _dashboard(path)


def _compose(services: dict[str, Any]) -> Iterator[str]:
    for name, service in services.items():
        if not re.search(r":v?\d+\.\d+[\w.-]*$", service["image"]):
            yield f"Compose: {name}: the image {service['image']} is not pinned to a version"
        if name not in NO_HEALTH and "healthcheck" not in service:
            yield f"Compose: {name} has no health check"
        if name != "s3-volume" and not service.get("read_only"):
            yield f"Compose: {name} may write to its root file system"
        if name != "s3-volume" and "memory" not in service["deploy"]["resources"]["limits"]:
            yield f"Compose: {name} has no limit of memory"
        own = service["image"].startswith(PROJECTS_OWN)
        if not own and "user" not in service:
            yield f"Compose: {name} runs as the user of its image, perhaps root"


def _variables() -> Iterator[str]:
    written = "\n".join(path.read_text() for path in (COMPOSE, *OVER))
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)|^  (AWS_\w+):$", written, re.MULTILINE))
    asked = {name or passed for name, passed in asked}
    explained = set(re.findall(r"^#? ?(\w+)=", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE))
    for name in sorted(asked - explained):
        yield f"deploy/env.example does not explain {name}"
    for name in sorted(explained - asked):
        yield f"deploy/env.example explains {name}, which no compose file asks for"


def _manifest(document: dict[str, Any]) -> Iterator[str]:
    kind = document["kind"]
    if document["apiVersion"].startswith("keda.sh/"):
        schema = json.loads((KUBERNETES / "schemas" / f"{kind.lower()}.json").read_text())
        yield from (f"{kind}: {error.message}" for error in Draft7Validator(schema).iter_errors(document))
    elif not document["apiVersion"].startswith("kustomize.config.k8s.io/"):
        try:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{kind} {document['metadata']['name']}: {error.message} at {'.'.join(map(str, error.path))}"


def _kustomized() -> Iterator[str]:
    """Every manifest is in a kustomization; and where kubectl is installed, what it makes of them is as valid."""
    for path in KUBERNETES.rglob("kustomization.yaml"):
        told = yaml.safe_load(path.read_text())
        for resource in (*told.get("resources", ()), *told.get("components", ())):
            if not (path.parent / resource).exists():
                yield f"{path.relative_to(ROOT)}: {resource} is not there"
        if shutil.which("kubectl"):
            made = subprocess.run(["kubectl", "kustomize", path.parent], capture_output=True, text=True, check=False)
            if made.returncode:
                yield f"{path.relative_to(ROOT)}: {made.stderr.strip()}"
            documents = list(yaml.safe_load_all(made.stdout))
            for document in documents:
                yield from (f"{path.relative_to(ROOT)}, made: {one}" for one in _manifest(document))
            yield from (f"{path.relative_to(ROOT)}, made: {one}" for one in _beyond_quota(documents))


UNITS = {"m": Decimal("0.001"), "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1}


def _quantity(written: object) -> Decimal:
    """What Kubernetes writes as 500m, 2Gi or 4."""
    number, unit = re.fullmatch(r"([\d.]+)(\D*)", str(written)).groups()  # type: ignore[union-attr]
    return Decimal(number) * UNITS[unit]


def _beyond_quota(documents: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Whether all pods that there may be at once, in the middle of a rollout, are within the quota, if there is one."""
    quotas = [each["spec"]["hard"] for each in documents if each["kind"] == "ResourceQuota"]
    most = {
        each["spec"]["scaleTargetRef"]["name"]: each["spec"].get("maxReplicas") or each["spec"]["maxReplicaCount"]
        for each in documents
        if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    }
    taken: Counter[str] = Counter()
    for each in documents:
        if each["kind"] in ("Deployment", "Job"):
            spec, name = each["spec"], each["metadata"]["name"]
            pods = most.get(name) or spec.get("replicas", 1)
            rolling = spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge")
            pods += (-(-pods // 4) if rolling is None else rolling) if each["kind"] == "Deployment" else 0
            for what, one in _of_pod(spec["template"]["spec"]).items():
                taken[what] += pods * one  # type: ignore[assignment]
    for quota in quotas:
        for what, room in quota.items():
            if taken[what] > _quantity(room):
                yield f"pods may take {taken[what]:,} {what}, the quota has {room}"


def _of_pod(spec: dict[str, Any]) -> dict[str, Decimal]:
    """What a pod counts for in a quota. Its init containers ask for less than the others."""
    resources = [each["resources"] for each in spec["containers"]]
    claims = [each["ephemeral"]["volumeClaimTemplate"]["spec"] for each in spec["volumes"] if "ephemeral" in each]
    return {
        "pods": Decimal(1),
        "requests.cpu": sum((_quantity(each["requests"]["cpu"]) for each in resources), Decimal()),
        "requests.memory": sum((_quantity(each["requests"]["memory"]) for each in resources), Decimal()),
        "limits.memory": sum((_quantity(each["limits"]["memory"]) for each in resources), Decimal()),
        "requests.storage": sum((_quantity(each["resources"]["requests"]["storage"]) for each in claims), Decimal()),
    }


def _scraped() -> Iterator[str]:
    """Prometheus reaches every Deployment of a worker: it names the port, and the policy lets connections to it in."""
    all_of = [each for path in sorted(KUBERNETES.rglob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]
    [policy] = [each for each in all_of if each.get("metadata", {}).get("name") == "worker-metrics"]
    [selected] = policy["spec"]["podSelector"]["matchExpressions"]
    for each in all_of:
        if each["kind"] != "Deployment" or not each["metadata"]["name"].startswith("worker"):
            continue
        name, container = each["metadata"]["name"], each["spec"]["template"]["spec"]["containers"][0]
        if name not in selected["values"] or "metrics" not in [port["name"] for port in container.get("ports", ())]:
            yield f"Prometheus does not reach the pods of {name}"


def _dashboard(path: Path) -> Iterator[str]:
    dashboard = json.loads(path.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(ids) != len(set(ids)):
        yield f"{path.relative_to(ROOT)}: two panels have one id"
    for panel in dashboard["panels"]:
        if not all(target.get("expr") for target in panel["targets"]):
            yield f"{path.relative_to(ROOT)}: the panel {panel['title']!r} asks for nothing"


if __name__ == "__main__":
    sys.exit("\n".join(complaints()) or 0)
