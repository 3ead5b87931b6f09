"""Libraries for tests: a small network with all that the interface can have, and C programs."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from onebyone.compiler import TARGETS
from onebyone.compiler.library.facts import NOTHING_KNOWN, About
from onebyone.compiler.library.plan import LibraryPlan, plan_library
from onebyone.compiler.options import CompileOptions
from onebyone.compiler.target import can_run
from onebyone.graph import capture

HERE = [name for name, one in TARGETS.items() if not one.bf16 and can_run(one)]
"""Targets that this processor can run, with float32."""

SECONDS = 120
ABOUT = About(
    mean=(0.1, 0.2, 0.3), deviation=(0.5, 1.0, 2.0), classes=('"a\\?', "ß", "c", "d", "e")
)


class Small(nn.Module):
    """Scores, and pixels with channels innermost, of small images."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU6(),
            nn.Conv2d(8, 24, 1),
            nn.SiLU(),
            nn.Conv2d(24, 24, 3, padding=1, groups=24),
            nn.ReLU(),
            nn.Conv2d(24, 20, 1),
        )
        self.head = nn.Linear(20, 5)

    def forward(self, x):
        features = self.features(x)
        return self.head(features.mean((2, 3))), features.permute(0, 2, 3, 1)


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


def small_plan(
    targets: Sequence[str] = (),
    *,
    batch: int = 1,
    batches: Sequence[int] = (),
    name: str = "net",
    embed: bool = False,
) -> LibraryPlan:
    """Plan a library of the small network: for one number of images, or for several."""
    return plan_library(
        capture(small_network(), (torch.zeros(max(batches, default=batch), 3, 18, 14),)),
        [TARGETS[one] for one in targets or HERE[:1]],
        name=name,
        options=CompileOptions(),
        batches=batches,
        about=ABOUT if name == "net" else NOTHING_KNOWN,
        embed=embed,
    )


def need(program: str, package: str) -> None:
    """Skip a test where a program is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"no program {program!r}: apt-get install {package}")


def checked(*command: str | Path, folder: Path | None = None) -> str:
    """Run a program that must succeed, and return what it prints."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
    return done.stdout
