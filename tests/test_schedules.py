import math
from itertools import pairwise

import pytest

from avatarzoo.schedules import Moment, OptimizerPlan, Phase, TermPlan


def phase(**options):
    return Phase("fit", None, (), OptimizerPlan(), **options)


@pytest.mark.parametrize(
    ("start", "ramp", "moment", "expected"),
    [
        (0, 0, Moment(0, 0.0), 4.0),
        (5, 0, Moment(4, 0.4), 0.0),
        (5, 0, Moment(5, 0.5), 4.0),
        (5, 10, Moment(5, 0.5), 0.0),
        (5, 10, Moment(10, 0.9), 2.0),
        (5, 10, Moment(100, 0.9), 4.0),
        (0.5, 0.25, Moment(3, 0.49), 0.0),
        (0.5, 0.25, Moment(3, 0.625), 2.0),
        (0, 0.5, Moment(3, 0.25), 2.0),
        (0, 8, Moment(2, 0.9), 1.0),
        (0.5, 0, Moment(10**6, 0.5), 4.0),
    ],
)
def test_weights_follow_their_schedule(start, ramp, moment, expected):
    assert TermPlan("t", {}, 4.0, start, ramp).weight_at(moment) == pytest.approx(expected)


def test_cosine_goes_from_one_to_its_final_share():
    plan = OptimizerPlan(decay="cosine", final=0.1)
    assert plan.factor_at(Moment(0, 0.0)) == pytest.approx(1.0)
    assert plan.factor_at(Moment(5, 0.5)) == pytest.approx(0.55)
    assert plan.factor_at(Moment(9, 1.0)) == pytest.approx(0.1)
    assert plan.factor_at(Moment(9, 1 / 3)) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 3)) / 2)


def test_exponential_reaches_its_final_share_by_equal_factors():
    plan = OptimizerPlan(decay="exponential", final=0.1)
    factors = [plan.factor_at(Moment(0, progress)) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert factors[0] == 1 and factors[-1] == pytest.approx(0.1)
    assert [b / a for a, b in pairwise(factors)] == pytest.approx([0.1**0.25] * 4)


def test_warmup_counts_from_the_phase_start_and_its_first_step_moves():
    plan = OptimizerPlan(warmup=4)
    assert [plan.factor_at(Moment(i, 0.0)) for i in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert plan.factor_at(Moment(101, 0.0), start=100) == 0.5
    assert OptimizerPlan(warmup=0.2).factor_at(Moment(7, 0.05)) == pytest.approx(0.25)


def test_a_lazy_phase_acts_every_so_often_after_its_start():
    lazy = phase(every=4, start=5)
    assert [i for i in range(17) if lazy.due(Moment(i, 0.0))] == [8, 12, 16]
    assert [p for p in (0.0, 0.29, 0.3, 0.9) if phase(start=0.3).due(Moment(8, p))] == [0.3, 0.9]
