"""Plans as plain JSON values, and back; checked where they are read."""

from dataclasses import asdict, replace
from typing import Any

from onebyone.errors import ShrinkError, summary
from onebyone.shrinking.plan import ShrinkPlan

FORMAT = 1
"""Raised by one whenever an older reader would misunderstand a plan."""


def plan_to_json(plan: ShrinkPlan) -> dict[str, Any]:
    """Return a plan as plain JSON values, without the images that it was decided on."""
    fields = asdict(replace(plan, evidence=None))  # the images are not copied
    del fields["evidence"]
    return {"format": FORMAT, **fields}


def plan_from_json(values: object) -> ShrinkPlan:
    """Return the plan that `plan_to_json` gave the values of.

    Raises:
        ShrinkError: If they are none, or of a newer version.
    """
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(values, dict) or "format" not in values:
        raise ShrinkError("a plan was wanted, as `plan.to_json()` gives, and something else came")
    if values["format"] != FORMAT:
        raise ShrinkError(
            f"the plan is of format {values['format']!r}, and this version of onebyone reads "
            f"{FORMAT}; install a newer one: pip install --upgrade onebyone"
        )
    fields = {name: value for name, value in values.items() if name != "format"}
    try:
        return TypeAdapter(ShrinkPlan).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ShrinkError(f"the plan is damaged ({where}: {first['msg']})") from error
    except (TypeError, ValueError) as error:
        raise ShrinkError(f"the plan is damaged ({summary(error)})") from error
