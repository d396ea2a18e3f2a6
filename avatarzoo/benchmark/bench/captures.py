"""Whether captures give what a suite's protocols read: said before a row trains, not when it is scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from avatarzoo import registry
from avatarzoo.benchmark.bench.suite import Planned
from avatarzoo.benchmark.protocol import check_capture
from avatarzoo.build import build_capture
from avatarzoo.config import load
from avatarzoo.errors import AvatarZooError, DataError


def check_protocols(planned: Sequence[Planned], protocols: Sequence[str]) -> list[Planned]:
    """Check what the protocols require against what each row's capture provides.

    Nothing is prepared. A capture that cannot be opened is left to the run, which says so itself before it trains, and on
    a cluster may well find it.

    Args:
        planned: from ``plan``.
        protocols: ids that each row is scored under.

    Returns:
        The plan; a row that could not be scored carries the reason.

    Raises:
        DataError: no row could be scored.
    """
    rules = [rule for rule in (registry.get("protocol", name) for name in protocols) if rule.requires]
    if not rules:
        return list(planned)
    known: dict[str, str | None] = {}
    checked = []
    for one in planned:
        if one.why_not is None:
            node = load(overrides=one.words).resolved["data"]
            key = json.dumps(node, sort_keys=True, default=str)
            if key not in known:
                known[key] = _why_not(node, rules)
            one = replace(one, why_not=known[key])
        checked.append(one)
    reasons = {one.why_not for one in checked}
    if len(reasons) == 1 and None not in reasons:
        raise DataError(f"Nothing was started: {reasons.pop()}")
    return checked


def _why_not(node: dict, rules: Sequence[type]) -> str | None:
    try:
        capture = build_capture({"data": dict(node)})
    except (AvatarZooError, OSError):
        return None
    if not getattr(capture, "provides", None):  # a plug-in's capture may know it only once it is prepared
        return None
    try:
        for rule in rules:
            check_capture(rule, capture, node["name"])
    except DataError as error:
        return str(error)
    return None
