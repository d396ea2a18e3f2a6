"""ZooModule: the one LightningModule. It runs a recipe's phases on each batch and knows when the run is over.

Optimization is always manual, so that one code path serves one phase and several. The module counts its own ``iteration``
(Lightning's ``global_step`` counts optimizer steps, of which a step with several phases takes several).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import avatarzoo
from avatarzoo import registry
from avatarzoo.accumulation import detach, join, slices
from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError, NonFiniteError
from avatarzoo.losses.base import LossTerm
from avatarzoo.models.base import Model
from avatarzoo.phases import build_optimizer, read_phases, seconds, set_learning_rates, trained_parts
from avatarzoo.schedules import Moment, Phase

AGREE_EVERY = 10  #: steps between two agreements of several processes on the time and on an interrupt


class ZooModule(L.LightningModule):
    """Train any registered model by the phases of its recipe.

    Attributes:
        model: bound to the capture.
        phases: in the order they act.
        terms: loss terms by phase and key.
        iteration: steps completed, over all sittings of the run.
        model_finished: whether ``Model.finish`` was done for the weights as they are.
        stop_requested: set from outside (Ctrl-C) to end the run after the step in progress.
    """

    def __init__(
        self,
        model: Model,
        phases: Sequence[Phase],
        terms: Mapping[str, Mapping[str, LossTerm]],
        *,
        seed: int = 0,
        max_steps: int | None = None,
        max_time: float | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        """Set a run up.

        Args:
            model: bound.
            phases: from ``read_phases``.
            terms: by phase name and key, bound to the capture.
            seed: of the run.
            max_steps: end of the run in steps, or None; 0 without ``max_time`` saves the model untrained.
            max_time: end of the run in seconds of training, or None.
            record: what travels in the checkpoint beside weights and counters (config, summary, plugins).

        Raises:
            ConfigError: phases that do not fit the model, or a run without an end.
        """
        super().__init__()
        self.automatic_optimization = False
        if max_steps is None and not max_time:
            raise ConfigError("The run has no end: set trainer.max_steps or trainer.max_time.")
        self.model, self.phases, self.terms = model, list(phases), {k: dict(v) for k, v in terms.items()}
        self.seed, self.max_steps, self.max_time = seed, max_steps, max_time
        self.record = dict(record or {})
        self.iteration = 0
        self.stop_requested = self.model_finished = False
        self.sums: dict[str, tuple[Tensor, int]] = {}  #: running sums of what is logged; on the device, read rarely
        self.rates: dict[str, float] = {}
        self._elapsed_before, self._agreed = 0.0, (0.0, False)
        self._started: float | None = None
        self._groups = self._plan_parameters()

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], model: Model, summary: CaptureSummary, record: Mapping[str, Any]
    ) -> ZooModule:
        """Build the module of a resolved config.

        Args:
            config: resolved, as plain containers.
            model: bound to ``summary``.
            summary: of the capture.
            record: further entries of the checkpoint's record.
        """
        phases = read_phases(config["phases"])
        terms = build_terms(config)
        for by_key in terms.values():
            for term in by_key.values():
                term.bind(summary)
        trainer = config.get("trainer") or {}
        return cls(
            model,
            phases,
            terms,
            seed=int(config.get("seed", 0)),
            max_steps=trainer.get("max_steps"),
            max_time=seconds(trainer.get("max_time")),
            record={"summary": summary.to_plain(), **record},
        )

    # -- what is trained ------------------------------------------------------------------------------------------------

    def _plan_parameters(self) -> dict[str, dict[str, list[nn.Parameter]]]:
        parts = self.model.parts()
        owned = {id(p) for part in parts.values() for p in part.parameters()}
        stray = [name for name, p in self.model.named_parameters() if p.requires_grad and id(p) not in owned]
        if stray:
            raise ConfigError(f"{type(self.model).__name__}.parts() leaves parameters out: {', '.join(stray[:5])}.")
        groups = {phase.name: trained_parts(phase, parts) for phase in self.phases}
        trained = {id(p) for by_part in groups.values() for ps in by_part.values() for p in ps}
        for parameter in self.model.parameters():
            if id(parameter) not in trained:  # before DDP wraps the model: it waits for gradients of all that ask for one
                parameter.requires_grad_(False)
        return groups

    def trained(self, phase: Phase) -> list[nn.Parameter]:
        """Return the parameters a phase trains."""
        return [p for group in self._groups[phase.name].values() for p in group]

    @contextmanager
    def only(self, phase: Phase) -> Iterator[None]:
        """Freeze, within the block, every parameter the phase does not train."""
        kept = {id(p) for p in self.trained(phase)}
        others = [p for p in self.model.parameters() if p.requires_grad and id(p) not in kept]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one optimizer per phase."""
        return [build_optimizer(phase, self._groups[phase.name]) for phase in self.phases]

    # -- one step -------------------------------------------------------------------------------------------------------

    def transfer_batch_to_device(self, batch: HeadBatch, device: torch.device, dataloader_idx: int) -> HeadBatch:
        """Move a batch without waiting for the copy; noise keys stay where generators read them."""
        moved = batch.to(device, non_blocking=True)
        return replace(moved, meta=replace(moved.meta, noise_key=batch.meta.noise_key))

    def training_step(self, batch: HeadBatch, batch_idx: int) -> None:
        """Run the phases that are due on a batch.

        Args:
            batch: of this process.
            batch_idx: Lightning's, unused: it restarts with the process.
        """
        self._agree()
        self.model_finished = False
        moment = Moment(self.iteration, self.progress)
        self.model.progress, self.model.iteration = moment.progress, moment.iteration
        # What a model draws beyond batch.meta.noise_key stays a function of the step, so that a resumed run repeats it.
        torch.manual_seed(hash((self.seed, self.iteration, self.global_rank)) & 0x7FFF_FFFF_FFFF_FFFF)
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        pieces = slices(batch, self.phases[0].accumulate)
        carries: list[dict[str, Any]] = [{} for _ in pieces]
        predictions: list[Prediction] = []
        for phase, optimizer in zip(self.phases, optimizers, strict=True):
            if phase.due(moment):
                with self.only(phase):
                    predictions = self._run(phase, optimizer, moment, batch, pieces, carries)
        if predictions:
            with torch.no_grad():
                self.model.after_step(batch, join(predictions, [p.size for p in pieces]), self._average)
        self.iteration += 1
        if self.finished:
            self._elapsed_before, self._started = self._elapsed_here, None  # what follows is no training
            self.trainer.should_stop = True

    def _run(
        self,
        phase: Phase,
        optimizer: Any,
        moment: Moment,
        batch: HeadBatch,
        pieces: list[HeadBatch],
        carries: list[dict[str, Any]],
    ) -> list[Prediction]:
        rates = set_learning_rates(phase, optimizer.optimizer, moment)
        self.rates.update({f"lr/{phase.name}.{part}": rate for part, rate in rates.items()})
        optimizer.zero_grad(set_to_none=True)
        predictions, values = [], []
        for index, (piece, carry) in enumerate(zip(pieces, carries, strict=True)):
            with nullcontext() if index == len(pieces) - 1 else self._no_sync():
                prediction = self.model.predict(piece, phase.name, carry)
                per_image = self._evaluate(phase, prediction, piece)
                weighted = [t.weight_at(moment) * per_image[t.key].mean() for t in phase.terms]
                total = sum(weighted[1:], weighted[0]) * (piece.size / batch.size)
                # Lightning runs the step under autocast; the gradient's own operations keep the types of the forward pass.
                with torch.autocast(self.device.type, enabled=False):
                    self.manual_backward(total)
            predictions.append(detach(prediction) if len(pieces) > 1 else prediction)
            values.append({key: value.detach() for key, value in per_image.items()})
        parameters = [p for p in self.trained(phase) if p.grad is not None]
        if phase.clip is None:
            norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        else:
            norm = torch.nn.utils.clip_grad_norm_(parameters, phase.clip)
        joined = {key: torch.cat([v[key] for v in values]) for key in values[0]}
        self._check_finite(phase, joined, norm, batch)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self._note(phase, joined, norm, moment)
        return predictions

    def _evaluate(self, phase: Phase, prediction: Prediction, batch: HeadBatch) -> dict[str, Tensor]:
        values = {}
        with torch.autocast(self.device.type, enabled=False):
            prediction = prediction.to(torch.float32)
            for key, term in self.terms[phase.name].items():
                value = term(prediction, batch)
                if value.shape != (batch.size,):
                    raise ConfigError(
                        f"Loss term {key!r} of phase {phase.name!r} returned shape {tuple(value.shape)}; "
                        f"a term returns one value per image, ({batch.size},)."
                    )
                values[key] = value
        return values

    def _check_finite(self, phase: Phase, values: dict[str, Tensor], norm: Tensor, batch: HeadBatch) -> None:
        # One read of the device per phase and step: the step has to be stopped before the optimizer spoils the weights.
        if bool(torch.stack([*(v.sum() for v in values.values()), norm.to(self.device)]).isfinite().all()):
            return
        bad = {key: (~value.isfinite()).nonzero()[:, 0].tolist() for key, value in values.items()}
        terms = [key for key, images in bad.items() if images]
        images = sorted({i for found in bad.values() for i in found}) or list(range(batch.size))
        what = f"Loss term {', '.join(terms)}" if terms else "The gradient (every loss term is finite)"
        frames = ", ".join(batch.meta.describe(i) for i in images)
        raise NonFiniteError(
            f"{what} is not finite in phase {phase.name!r} at iteration {self.iteration}, for {frames}. "
            f"The weights were not changed. Look at these frames, or lower the learning rate or the term's weight."
        )

    def _no_sync(self) -> AbstractContextManager[Any]:
        wrapped = self.trainer.strategy.model
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()

    def _average(self, tensor: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(tensor.detach().clone(), reduce_op="mean")

    # -- time, stopping, logging ----------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds of training, over all sittings; in a run of several processes, as last agreed."""
        if self._trainer is not None and self.trainer.world_size > 1:
            return self._agreed[0]
        return self._elapsed_here

    @property
    def _elapsed_here(self) -> float:
        return self._elapsed_before + (0.0 if self._started is None else time.monotonic() - self._started)

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0..1."""
        if self.max_steps == 0 and not self.max_time:  # the untrained model, to be scored as it is
            return 1.0
        shares = [self.iteration / self.max_steps] if self.max_steps else []
        shares += [self.elapsed / self.max_time] if self.max_time else []
        return min(1.0, max(shares))

    @property
    def finished(self) -> bool:
        """Whether the run ends after the step in progress."""
        stop = self._agreed[1] if self.trainer.world_size > 1 else self.stop_requested
        return stop or self.progress >= 1.0

    @property
    def complete(self) -> bool:
        """Whether training is over and the model finished."""
        return self.progress >= 1.0 and (self.model_finished or type(self.model).finish is Model.finish)

    def _agree(self) -> None:
        """Let all processes act on the same time and the same interrupt."""
        if self.trainer.world_size == 1 or self.iteration % AGREE_EVERY:
            return
        mine = [self._elapsed_here if self.global_rank == 0 else 0.0, float(self.stop_requested)]
        agreed = self.trainer.strategy.reduce(torch.tensor(mine, device=self.device), reduce_op="max").tolist()
        self._agreed = (agreed[0], agreed[1] > 0)

    def on_train_start(self) -> None:
        """Start the clock and move terms that are modules to the device."""
        if self.finished:  # of no steps, or resumed after its end: what follows is no training
            self.trainer.should_stop = True
        else:
            self._started = time.monotonic()
        for by_key in self.terms.values():
            for term in by_key.values():
                if isinstance(term, nn.Module):
                    term.to(self.device).requires_grad_(False)
                term.move_to(self.device)

    def _note(self, phase: Phase, values: dict[str, Tensor], norm: Tensor, moment: Moment) -> None:
        means = {key: value.mean() for key, value in values.items()}
        weighted = [t.weight_at(moment) * means[t.key] for t in phase.terms]
        total = sum(weighted[1:], weighted[0])
        for key, value in {**means, "total": total, "grad_norm": norm}.items():
            so_far, count = self.sums.get(f"{phase.name}/{key}", (0.0, 0))
            self.sums[f"{phase.name}/{key}"] = (so_far + value.detach(), count + 1)

    def take_means(self) -> dict[str, float]:
        """Return the means since the last call of every term (unweighted), total and gradient norm, over all processes.

        Every process has to call it in the same step.
        """
        if not self.sums:
            return {}
        stacked = torch.stack([total.float() / count for total, count in self.sums.values()])
        if self.trainer.world_size > 1:
            stacked = self._average(stacked)
        means = dict(zip(self.sums, stacked.tolist(), strict=True))
        self.sums = {}
        return means

    @property
    def columns(self) -> list[str]:
        """Names of everything that is logged, known before the first step."""
        names = [f"{p.name}/{key}" for p in self.phases for key in ("total", *(t.key for t in p.terms), "grad_norm")]
        return names + [f"lr/{phase.name}.{part}" for phase in self.phases for part in self._groups[phase.name]]

    # -- checkpoints ----------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what loading and resuming need to Lightning's checkpoint: plain containers and tensors only."""
        checkpoint["avatarzoo"] = {
            "version": avatarzoo.__version__,
            "plugins": [],
            **self.record,
            "iteration": self.iteration,
            "elapsed": self._elapsed_here,
            "complete": self.complete,
            "processes": 1 if self._trainer is None else self.trainer.world_size,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the counters up again and start the data at the step that follows (loaders are made after this)."""
        record = checkpoint["avatarzoo"]
        here = 1 if self._trainer is None else self.trainer.world_size
        if record.get("processes", here) != here:
            raise ConfigError(
                f"The run was trained by {record['processes']} processes and would go on with {here}: a step would see "
                f"other pictures. Resume it with trainer.devices={record['processes']}, or start a new run."
            )
        self.iteration, self._elapsed_before = int(record["iteration"]), float(record.get("elapsed", 0.0))
        self._agreed = (self._elapsed_before, False)
        self.model_finished = bool(record.get("complete"))
        data = None if self._trainer is None else getattr(self.trainer, "datamodule", None)
        if data is not None:
            data.start_iteration = self.iteration


def build_terms(config: Mapping[str, Any]) -> dict[str, dict[str, LossTerm]]:
    """Build the loss terms of a resolved config by phase and key, not bound yet."""
    phases = read_phases(config["phases"])
    return {phase.name: {t.key: registry.build("loss", t.component) for t in phase.terms} for phase in phases}
