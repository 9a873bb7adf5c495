"""Make the reference page of the schema from the YAML under ``spec/``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

__all__ = ["schema_page", "write_schema_page"]

_QUANTITIES = {None: "one", "?": "optional", "*": "any number", "+": "one or more"}


def write_schema_page(spec: Path, target: Path) -> None:
    """Write the page for the YAML files in the directory ``spec`` to ``target``."""
    target.write_text(schema_page(spec), encoding="utf-8")


def schema_page(spec: Path) -> str:
    """Return the page as Markdown, with a section for each type and a table row for each part."""
    (namespace,) = _load(next(spec.glob("*.namespace.yaml")))["namespaces"]
    lines = [
        "# Schema",
        "",
        f"Namespace `{namespace['name']}` {namespace['version']}. {namespace['doc']}",
        "",
        "This page is generated from the YAML under `spec/`, the only definition of the types.",
        "Inherited parts are described in the NWB and HDMF schemas.",
    ]
    for source in namespace["schema"]:
        if "source" in source:
            content = _load(spec / source["source"])
            for kind in [*content.get("groups", []), *content.get("datasets", [])]:
                lines += _type(kind)
    return "\n".join(lines) + "\n"


def _load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def _type(kind: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"## {kind['neurodata_type_def']}", "")
    named = f" Its name is always `{kind['name']}`." if "name" in kind else ""
    yield f"Extends `{kind['neurodata_type_inc']}`.{named} {_line(kind['doc'])}"
    yield from (
        "",
        "| name | kind | type | quantity | description |",
        "| --- | --- | --- | --- | --- |",
    )
    for what in ("attributes", "datasets", "links", "groups"):
        for part in kind.get(what, []):
            if part.get("neurodata_type_inc") != "VectorIndex":
                yield from _rows(part, what.removesuffix("s"))


def _rows(part: Mapping[str, Any], what: str, owner: str = "") -> Iterator[str]:
    kind = part.get("dtype") or part.get("target_type") or part.get("neurodata_type_inc", "")
    quantity = _QUANTITIES[part.get("quantity")] if part.get("required", True) else "optional"
    name = owner + part.get("name", part.get("neurodata_type_inc", ""))
    fixed = f" Always `{part['value']}`." if "value" in part else ""
    yield f"| `{name}` | {what} | {kind} | {quantity} | {_line(part['doc'])}{fixed} |"
    for attribute in part.get("attributes", []):
        yield from _rows(attribute, "attribute", f"{name}.")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
