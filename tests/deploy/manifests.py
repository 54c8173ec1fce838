#!/usr/bin/env python3
"""Checks what is shipped for containers, Kubernetes and Terraform, as far as can be done without any of them running.

    tests/deploy/manifests.py OUT     OUT: where the configurations found inside are written, for the programs to check

Kubernetes: every object against the API's schemas, strictly; what refers to each other exists. Compose: the model of
its specification. Terraform: parsed; variables are declared and used; templates rendered (by Jinja, whose syntax they
are translated to), the result against cloud-init's schema.
"""

import json
import pathlib
import re
import sys

import compose_spec
import hcl2
import jinja2
import jsonschema
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "config/kubernetes"
TERRAFORM = ROOT / "config/terraform"
# Made by the operator, as docs/deployment.md says, and therefore in no file.
FROM_OUTSIDE = {("ConfigMap", "secbeat-authority"), ("Secret", "secbeat-node")}
VERSIONS = ("1.29", "1.34")


def need(condition, fault):
    """Ends with a fault."""
    if not condition:
        sys.exit(f"manifests: {fault}")


def objects():
    """All Kubernetes objects, with their file."""
    for path in sorted(KUBERNETES.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from ((path.name, one) for one in yaml.safe_load_all(path.read_text()))


def names_in(value):
    """(kind, name) that a pod's template refers to."""
    if isinstance(value, dict):
        for key, kind in (("configMap", "ConfigMap"), ("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            if isinstance(value.get(key), dict):
                yield kind, value[key]["name"]
        if "serviceAccountName" in value:
            yield "ServiceAccount", value["serviceAccountName"]
        for one in value.values():
            yield from names_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from names_in(one)


def script(path, text):
    """A script of a container, for places of the test's own: it is run, twice."""
    for place in ("/var/lib/secbeat-orchestrator", "/fleet"):
        text = text.replace(place, '"$PLACE"')
    path.write_text(text.replace("/etc/secbeat/orchestrator.toml", '"$PLACE/orchestrator.toml"'))


def kubernetes(out):
    """Schemas and references."""
    custom = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    listed = set(custom["resources"])
    need(listed == files, f"kustomization.yaml names {sorted(listed)}, there are {sorted(files)}")
    there = set(FROM_OUTSIDE)
    for made in custom["configMapGenerator"]:
        there.add(("ConfigMap", made["name"]))
        for name in made["files"]:
            need((KUBERNETES / name).is_file(), f"kustomization.yaml: {name} does not exist")
            (out / f"kubernetes-{name}").write_text((KUBERNETES / name).read_text())
    found = list(objects())
    for name, one in found:
        there.add((one["kind"], one["metadata"]["name"]))
        for version in VERSIONS:
            kubernetes_validate.validate(one, version, strict=True)
    sets = [(name, one["spec"]) for name, one in found if one["kind"] in ("DaemonSet", "StatefulSet")]
    pods = [(name, spec["template"], spec) for name, spec in sets]
    need(len(pods) == 2, "a DaemonSet and a StatefulSet are expected")
    images = {image["name"] for image in custom["images"]}
    for name, pod, spec in pods:
        for wanted in names_in(pod):
            need(wanted in there, f"{name}: {wanted} does not exist")
        fits = spec["selector"]["matchLabels"] == pod["metadata"]["labels"]
        need(fits, f"{name}: the selector does not select its pods")
        volumes = {one["name"] for one in pod["spec"]["volumes"]}
        volumes |= {one["metadata"]["name"] for one in spec.get("volumeClaimTemplates", [])}
        for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
            need(container["image"] in images, f"{name}: image {container['image']} is not named in kustomization.yaml")
            rights = container["securityContext"]
            need(not rights.get("privileged") and rights["capabilities"]["drop"] == ["ALL"], f"{name}: too many rights")
            mounts = {one["name"] for one in container["volumeMounts"]}
            need(mounts == volumes, f"{name}: volumes {sorted(volumes)}, mounts {sorted(mounts)}")
        for first in pod["spec"].get("initContainers", []):
            script(out / f"kubernetes-{first['name']}.sh", first["args"][0])
    labels = [pod["metadata"]["labels"] for _, pod, _ in pods]
    for name, one in found:
        selector = one.get("spec", {}).get("selector") or one.get("spec", {}).get("podSelector")
        if one["kind"] in ("Service", "NetworkPolicy", "PodDisruptionBudget"):
            wanted = selector.get("matchLabels", selector)
            need(wanted in labels, f"{name}: {one['kind']} selects no pod")
    return f"{len(found)} objects of Kubernetes, for {' and '.join(VERSIONS)}"


def compose(out):
    """The compose file, and what it mounts."""
    path = ROOT / "config/container/compose.yml"
    # Merge keys are resolved by YAML itself, as Compose has it done.
    plain = yaml.safe_load(path.read_text())
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(plain)).validate()
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", (path.parent / "Dockerfile").read_text(), re.MULTILINE))
    for name, service in plain["services"].items():
        for other in service.get("depends_on", {}):
            need(other in plain["services"], f"compose.yml: {name} depends on {other}, which does not exist")
        if "build" in service:
            need(service["build"]["target"] in targets, f"compose.yml: {name}: the Dockerfile has no such target")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            fits = (path.parent / source).is_file() if source.startswith(".") else source in plain["volumes"]
            need(fits, f"compose.yml: {name}: {source} does not exist")
    script(out / "compose-setup.sh", plain["services"]["setup"]["command"][0].replace("$$", "$"))
    for name in ("node.toml", "orchestrator.toml"):
        (out / f"compose-{name}").write_text((path.parent / "compose" / name).read_text())
    return f"{len(plain['services'])} services"


def rendered(name, values):
    """A template of Terraform, rendered: the little of its language that ours use."""
    text = (TERRAFORM / "templates" / name).read_text()
    text = text.replace("$${", "\0")
    text = re.sub(r"%\{ for (\w+) in (\w+) ~\}\n", r"{% for \1 in \2 %}", text)
    text = re.sub(r"%\{ endfor ~\}\n", "{% endfor %}", text)
    need("%{" not in text, f"{name}: a directive that this check does not know")
    text = re.sub(r"\$\{([^}]*)\}", r"{{ \1 }}", text).replace("\0", "${")
    engine = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    engine.globals.update(jsonencode=json.dumps, split=lambda by, what: what.split(by))
    return engine.from_string(text).render(**values)


def cloud_config(name, values, out):
    """A rendered template against cloud-init's schema; the files in it are written to OUT."""
    text = rendered(name, values)
    need(text.startswith("#cloud-config\n"), f"{name}: the first line is not #cloud-config")
    config = yaml.safe_load(text)
    schema = next((ROOT / "target/tools/deploy/cloud-init").rglob("schema-cloud-config-v1.json"))
    jsonschema.Draft4Validator(json.loads(schema.read_text())).validate(config)
    need(all(isinstance(command, str) for command in config["runcmd"]), f"{name}: a command is not text")
    for file in config["write_files"]:
        if file["path"].endswith(".toml"):
            (out / f"terraform-{pathlib.Path(file['path']).name}").write_text(file["content"])


def terraform(out):
    """Modules parsed, variables accounted for, templates rendered."""
    for folder in (TERRAFORM, TERRAFORM / "examples/openstack"):
        texts = {path: path.read_text() for path in folder.glob("*.tf")}
        declared = set()
        for path, text in texts.items():
            for block in hcl2.loads(text).get("variable", []):
                declared.update(name.strip('"') for name in block)
        used = set(re.findall(r"\bvar\.(\w+)", "\n".join(texts.values())))
        need(declared == used, f"{folder.name}: variables declared and used differ: {sorted(declared ^ used)}")
    example = (TERRAFORM / "examples/openstack/main.tf").read_text()
    inputs = re.search(r'module "secbeat" \{(.*?)\n\}', example, re.DOTALL).group(1)
    given = set(re.findall(r"^  (\w+) +=", inputs, re.MULTILINE)) - {"source"}
    known = set(re.findall(r'^variable "(\w+)"', (TERRAFORM / "variables.tf").read_text(), re.MULTILINE))
    need(given == known, f"examples/openstack: inputs of the module differ from its variables: {sorted(given ^ known)}")
    package = {"url": "https://packages.example/a.deb", "sha256": "0" * 64}
    cloud_config("orchestrator.yaml.tftpl", {"name": "control.internal.example", "packages": [package, package]}, out)
    values = {
        "name": "edge-1",
        "node": {"listen": "0.0.0.0:443", "backend": "10.0.0.80:443", "management_ports": [22], "hugepages": 512},
        "packages": [package],
        "orchestrator_name": "control.internal.example",
        "authority": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
        "join_token": "token",
        "syn_cookie_secret": "secret",
        "api_token": "token",
    }
    call = re.search(r"node\.yaml\.tftpl\", \{(.*?)\n    \}\)", (TERRAFORM / "main.tf").read_text(), re.DOTALL).group(1)
    passed = set(re.findall(r"^ +(\w+) +=", call, re.MULTILINE))
    need(passed == set(values), "main.tf: values of node.yaml.tftpl differ")
    cloud_config("node.yaml.tftpl", values, out)
    return "2 modules of Terraform"


def alerts():
    """Every alert has a unit test in which it fires."""
    folder = ROOT / "config/monitoring"
    tested = set()
    for path in (folder / "rules_tests").glob("*.yml"):
        for case in yaml.safe_load(path.read_text())["tests"]:
            for query in case["promql_expr_test"]:
                if query["exp_samples"]:
                    tested.update(re.findall(r'alertname="(\w+)"', query["expr"]))
    rules = [rule for path in (folder / "rules").glob("*.yml") for group in yaml.safe_load(path.read_text())["groups"]
             for rule in group["rules"] if "alert" in rule]  # fmt: skip
    names = {rule["alert"] for rule in rules}
    need(names == tested, f"alerts without a test, or tests without an alert: {sorted(names ^ tested)}")
    for rule in rules:
        page, _, section = rule["annotations"]["runbook"].partition("#")
        need((ROOT / page).is_file(), f"{rule['alert']}: {page} does not exist")
        heads = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
        need(not section or section in anchors, f"{rule['alert']}: {page} has no section {section}")
    return f"{len(rules)} alerts"


def main():
    """Everything in turn."""
    out = pathlib.Path(sys.argv[1])
    print(", ".join([kubernetes(out), compose(out), terraform(out), alerts()]))


if __name__ == "__main__":
    main()
