"""What is said of 1x1 convolutions, put to the test."""

from typing import TYPE_CHECKING

from onebyone.lazy import offer

if TYPE_CHECKING:
    from onebyone.studies.catalogue import STUDIES, find_study
    from onebyone.studies.outcome import StudyResult, Verdict
    from onebyone.studies.paired import Estimate
    from onebyone.studies.run import Reached, run_study
    from onebyone.studies.study import Study

__all__ = [
    "STUDIES",
    "Estimate",
    "Reached",
    "Study",
    "StudyResult",
    "Verdict",
    "find_study",
    "run_study",
]

__getattr__, __dir__ = offer(
    __name__,
    {
        "onebyone.studies.catalogue": "STUDIES find_study",
        "onebyone.studies.outcome": "StudyResult Verdict",
        "onebyone.studies.paired": "Estimate",
        "onebyone.studies.run": "Reached run_study",
        "onebyone.studies.study": "Study",
    },
)
