"""Argo's own schema of a WorkflowTemplate, made strict: a field that it does not know is refused.

Kubernetes drops unknown fields or refuses them, as the one who applies a file asks for; a field
that is dropped is one that somebody has misspelt.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[2] / "shared" / "data" / "argo-workflowtemplate-crd.yaml"


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of Kubernetes as JSON Schema, in which only the properties that it lists may be."""
    found = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        found["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    for key in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(key), dict):
            found[key] = strict(schema[key])
    if "properties" in schema:
        found["properties"] = {name: strict(part) for name, part in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    return found


@functools.cache
def validator() -> Draft202012Validator:
    """Of WorkflowTemplates."""
    if not FILE.exists():
        pytest.skip("Argo's schema, shared/data/argo-workflowtemplate-crd.yaml, is not beside here")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    (version,) = yaml.load(FILE.read_text(), loader)["spec"]["versions"]
    return Draft202012Validator(strict(version["schema"]["openAPIV3Schema"]))


def faults(resource: dict[str, Any]) -> list[str]:
    """What Argo does not take of a WorkflowTemplate."""
    return [error.message for error in validator().iter_errors(resource)]
