"""Compares what an answer shows with the examples that the OpenAPI document has for it."""

from collections.abc import Iterator
from typing import Any

FREE = "detail"
"""Of an entry of the audit log: whatever the act has to tell."""
KINDS = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}


def differences(example: Any, answer: Any, place: str = "$") -> Iterator[str]:
    """Where the shape of an answer is not that of its example; null may stand for anything."""
    if example is None or answer is None:
        return
    if KINDS[type(example)] != KINDS[type(answer)]:
        yield f"{place}: {KINDS[type(example)]}, not {KINDS[type(answer)]}"
    elif isinstance(example, dict):
        if example.keys() != answer.keys():
            missing, more = sorted(example.keys() - answer.keys()), sorted(answer.keys() - example.keys())
            yield f"{place}: has not {', '.join(missing)}, has {', '.join(more)}"
        for name in example.keys() & answer.keys():
            if not (name == FREE and isinstance(example[name], dict)):
                yield from differences(example[name], answer[name], f"{place}.{name}")
    elif isinstance(example, list) and example:
        for number, item in enumerate(answer):
            yield from differences(example[0], item, f"{place}[{number}]")


def undescribed(document: dict[str, Any], call: str, status: int, answer: Any) -> list[str]:
    """How the JSON of an answer differs from the example that is nearest to it; of a problem, from that of its code."""
    method, path = call.split()
    described = document["paths"][path][method]["responses"].get(str(status), {}).get("content", {})
    [content] = [one for media_type, one in described.items() if "json" in media_type] or [{}]
    names = content.get("examples", {})
    shown = document["components"]["examples"]
    if isinstance(answer, dict) and "code" in answer and "type" in answer:
        if answer["code"] not in names:
            return [f"{call} {status}: {answer['code']} is not told"]
        example = shown[names[answer["code"]]["$ref"].rpartition("/")[2]]["value"]
        same = all(example[name] == answer[name] for name in ("type", "title", "status"))
        return [*differences(example, answer), *([] if same else [f"{call} {status}: {answer} is not {example}"])]
    tried = [list(differences(shown[one["$ref"].rpartition("/")[2]]["value"], answer)) for one in names.values()]
    return [f"{call} {status}: {found}" for found in min(tried, key=len, default=["has no example"])]
