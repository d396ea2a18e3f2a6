import io
import re
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from avatarzoo.callbacks.progress import DAY, ProgressBar, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3 * 3600 + 61, "3 h 1 min"),
        (2.4 * DAY, "2.4 days"),
    ],
)
def test_durations_for_people(seconds, text):
    assert duration(seconds) == text


def bar(terminal=False, plain_every=0.0, width=200):
    out = io.StringIO()
    metrics = SimpleNamespace(latest={})
    console = Console(file=out, force_terminal=terminal, width=width)
    return ProgressBar(metrics, console, plain_every), metrics, out


def row(iteration, progress, rate=2.0):
    return {
        "iteration": iteration,
        "elapsed": 1.0,
        "progress": progress,
        "steps_per_s": rate,
        "fit/total": 1.5,
        "fit/image": 0.25,
        "fit/grad_norm": 9.0,
        "lr/fit.encoder": 1e-3,
    }


def at(iteration, max_steps=100, max_time=None, elapsed=0.0):
    """A module at a step."""
    return SimpleNamespace(
        progress=iteration / (max_steps or 100),
        iteration=iteration,
        max_steps=max_steps,
        max_time=max_time,
        elapsed=elapsed,
    )


TRAINER = SimpleNamespace(is_global_zero=True, should_stop=False)


def test_a_line_shows_step_pace_time_left_and_losses_alone():
    text = bar()[0].line(row(1200, 0.5), 61.0)
    assert text == "step 1,200 · 2.0 it/s · 1 min 1 s left · total 1.5 image 0.25"
    assert "4.0 s/it" in bar()[0].line(row(1, 0.5, 0.25), None)


def test_several_phases_keep_their_names():
    text = bar()[0].line({**row(3, 0.1), "d/real": 0.5}, None)
    assert "fit/image 0.25" in text and "d/real 0.5" in text


def test_time_left_counts_this_sitting_alone():
    progress, _, _ = bar()
    progress.on_train_start(TRAINER, at(50))
    progress._first = (time.monotonic() - 10.0, 50)
    assert progress.time_left(at(75)) == pytest.approx(10.0, abs=0.5)
    assert progress.time_left(at(50)) is None


def test_time_left_never_exceeds_the_limit_of_time():
    progress, _, _ = bar()
    progress.on_train_start(TRAINER, at(0, max_time=120.0))
    progress._first = (time.monotonic() - 30.0, 0)
    assert progress.time_left(at(1, max_steps=None, max_time=120.0, elapsed=30.0)) == pytest.approx(90.0)
    assert progress.time_left(at(1, max_time=120.0, elapsed=30.0)) == pytest.approx(90.0), "99 steps would take longer"
    assert progress.time_left(at(90, max_time=120.0, elapsed=30.0)) == pytest.approx(30 / 9, abs=0.1)
    assert progress.time_left(at(1, max_time=120.0, elapsed=121.0)) == 0.0


def test_lines_come_when_a_row_is_new_and_no_oftener_than_asked():
    progress, metrics, out = bar()
    module = at(0)
    progress.on_train_start(TRAINER, module)
    progress.on_train_batch_end(TRAINER, module)
    metrics.latest = row(1, 0.1)
    for _ in range(3):
        progress.on_train_batch_end(TRAINER, module)
    assert out.getvalue().count("step 1 ") == 1
    progress.plain_every = 1000.0
    metrics.latest = row(2, 0.2)
    progress.on_train_batch_end(TRAINER, module)
    assert "step 2 " not in out.getvalue()
    metrics.latest = row(3, 1.0)
    progress.on_train_batch_end(SimpleNamespace(is_global_zero=True, should_stop=True), module)
    assert "step 3 " in out.getvalue(), "the last row is always shown"


def test_a_run_of_more_than_a_day_is_warned_of_once():
    progress, metrics, out = bar()
    progress.on_train_start(TRAINER, at(0))
    for share, waited in ((1e-5, 20.0), (1e-5, 40.0), (2e-5, 80.0)):
        progress._first = (time.monotonic() - waited, 0)
        metrics.latest = row(int(waited), share)
        progress.on_train_batch_end(TRAINER, at(1, max_steps=100_000))
        assert out.getvalue().count("scale=small") == (waited > 30)
    assert "days more" in out.getvalue().replace("\n", " ")


def test_a_terminal_gets_a_bar():
    progress, metrics, out = bar(terminal=True)
    progress.on_train_start(TRAINER, at(0))
    metrics.latest = row(7, 0.25)
    progress.on_train_batch_end(TRAINER, at(7))
    progress.on_train_end(TRAINER, None)
    assert "25%" in out.getvalue() and "step 7" in out.getvalue()
    assert progress._bar is None


def test_a_narrow_terminal_gets_one_line():
    progress, metrics, out = bar(terminal=True, width=72)
    progress.on_train_start(TRAINER, at(0))
    metrics.latest = row(7, 0.25) | {f"fit/term{i}": 1.0 for i in range(9)}
    progress.on_train_batch_end(TRAINER, at(7))
    progress.on_train_end(TRAINER, None)
    lines = [line for line in out.getvalue().splitlines() if "step 7" in line]
    assert lines and all("…" in line and "━" * 24 in line.replace("╸", "━").replace("╺", "━") for line in plain(lines))


def plain(lines):
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in lines]


def test_other_processes_are_silent():
    progress, metrics, out = bar()
    other = SimpleNamespace(is_global_zero=False, should_stop=True)
    progress.on_train_start(other, at(0))
    metrics.latest = row(7, 0.25)
    progress.on_train_batch_end(other, at(7))
    assert out.getvalue() == ""
