import csv
from types import SimpleNamespace

from avatarzoo.callbacks.metrics import LOG_EVERY, Metrics


class Module:
    """What the callback reads of a ZooModule."""

    columns = ["fit/image", "lr/fit.all"]
    rates = {"lr/fit.all": 0.1}
    elapsed, progress = 1.5, 0.25

    def __init__(self, iteration):
        self.iteration, self.asked = iteration, 0

    def take_means(self):
        self.asked += 1
        return {"fit/image": float(self.iteration)}


def trainer(logged=None, is_global_zero=True):
    logger = SimpleNamespace(log_metrics=lambda row, step: logged.append((step, row)))
    return SimpleNamespace(is_global_zero=is_global_zero, should_stop=False, loggers=[logger] if logged is not None else [])


def train(run, steps, first=0, **options):
    callback, module = Metrics(run), Module(first)
    place = trainer(**options)
    callback.on_train_start(place, module)
    for iteration in range(first + 1, steps + 1):
        module.iteration = iteration
        place.should_stop = iteration == steps
        callback.on_train_batch_end(place, module)
    callback.teardown(place, module, "fit")
    return module


def rows(run):
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_come_at_the_first_step_every_few_and_at_the_end(tmp_path):
    logged = []
    module = train(tmp_path, 2 * LOG_EVERY + 3, logged=logged)
    steps = [1, LOG_EVERY, 2 * LOG_EVERY, 2 * LOG_EVERY + 3]
    assert [int(r["iteration"]) for r in rows(tmp_path)] == steps
    assert [r["fit/image"] for r in rows(tmp_path)] == [str(float(s)) for s in steps]
    assert [step for step, _ in logged] == steps and logged[0][1]["lr/fit.all"] == 0.1
    assert module.asked == 4, "the device is read only when a row is written"


def test_a_resumed_run_drops_rows_past_its_checkpoint_and_a_line_cut_short(tmp_path):
    train(tmp_path, 3 * LOG_EVERY)
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("4")  # killed while writing
    train(tmp_path, 2 * LOG_EVERY, first=LOG_EVERY + 5)
    assert [int(r["iteration"]) for r in rows(tmp_path)] == [1, LOG_EVERY, LOG_EVERY + 6, 2 * LOG_EVERY]


def test_only_the_first_process_writes(tmp_path):
    train(tmp_path, 3, is_global_zero=False)
    assert not (tmp_path / "metrics.csv").exists()
