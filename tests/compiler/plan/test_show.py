"""A plan as text, which a person reads."""

import torch
from torch import nn

from onebyone.compiler import TARGETS, plan_model
from onebyone.models import create_model

GOLDEN = """\
6 operations in 5 groups (borders cleared: 1, inputs transformed for Winograd: 0); 0.2 MB of weights
and tables, 1.1 MB for values, 0.3 MB for each thread; 1.16 ms of core time expected

   layer     what                  us  chunks  how, and why
1  input     input                 16       8  channels innermost
2  stem      3x3 convolution      273      10  Winograd F(4x4, 3x3), tile 12x32, inputs transformed
                                               in chunks; 47% of direct
3            by rows              866      16  16 bands
   expand    1x1 convolution      219          tile 8x48
   deep      3x3 depthwise        442          tile 8x16
   project   1x1 convolution      205          tile 11x32
4  avg_pool  global average pool    2       2
5  head      linear layer           0       1  tile 1x16, channels inside"""


class Small(nn.Module):
    """A convolution, an inverted bottleneck, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(32, 32, 3, padding=1)
        self.expand = nn.Conv2d(32, 96, 1)
        self.deep = nn.Conv2d(96, 96, 3, padding=1, groups=96)
        self.project = nn.Conv2d(96, 32, 1)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.deep(self.expand(x).relu()).relu())
        return self.head(x.mean((2, 3)))


def test_a_plan_says_what_runs_how_and_why():
    (plan,) = plan_model(Small().eval(), torch.zeros(1, 32, 64, 64), target=TARGETS["avx512"])
    assert str(plan) == GOLDEN


def test_resnet_50_is_read_on_a_few_screens():
    (plan,) = plan_model(create_model("resnet50"), torch.zeros(1, 3, 224, 224))
    lines = str(plan).splitlines()
    assert len(lines) < 100
    assert max(map(len, lines)) <= 100
