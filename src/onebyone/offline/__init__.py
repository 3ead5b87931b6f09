"""Predictions for more photos than anybody looks at: a folder or shards in, a Parquet file out.

items -> parts -> predictor (or Ray) -> parts -> result
"""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.offline.engine import Engine
    from onebyone.offline.run import Predictions, Progress, predict_many
    from onebyone.offline.task import Task

__all__ = ["Engine", "Predictions", "Progress", "Task", "predict_many"]

__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone.offline.engine": "Engine",
        "onebyone.offline.run": "Predictions Progress predict_many",
        "onebyone.offline.task": "Task",
    },
)
