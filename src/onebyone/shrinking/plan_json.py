"""Plans as plain JSON values, and back; checked where they are read."""

from dataclasses import asdict, fields, replace
from typing import Any, get_type_hints

from onebyone.errors import ShrinkError
from onebyone.shrinking.budget import parse_budget
from onebyone.shrinking.plan import ShrinkPlan
from onebyone.typed import MisfitError, read_as

FORMAT = 1
"""Raised by one whenever an older reader would misunderstand a plan."""


def plan_to_json(plan: ShrinkPlan) -> dict[str, Any]:
    """Return a plan as plain JSON values, without the images that it was decided on."""
    values = asdict(replace(plan, evidence=None))  # the images are not copied
    del values["evidence"]
    return {"format": FORMAT, **values, "budget": str(plan.budget)}


def plan_from_json(values: object) -> ShrinkPlan:
    """Return the plan that `plan_to_json` gave the values of.

    Raises:
        ShrinkError: If they are none, or of a newer version.
    """
    if not isinstance(values, dict) or "format" not in values:
        raise ShrinkError("a plan was wanted, as `plan.to_json()` gives, and something else came")
    if values["format"] != FORMAT:
        raise ShrinkError(
            f"the plan is of format {values['format']!r}, and this version of onebyone reads "
            f"{FORMAT}; install a newer one: pip install --upgrade onebyone"
        )
    types = get_type_hints(ShrinkPlan)
    read: dict[str, Any] = {"budget": parse_budget(str(values.get("budget")))}
    for one in fields(ShrinkPlan):
        if one.name in {"budget", "evidence"}:
            continue
        try:
            read[one.name] = read_as(types[one.name], values.get(one.name), one.name)
        except MisfitError as error:
            raise ShrinkError(f"the plan is damaged ({error})") from error
    return ShrinkPlan(**read)
