"""The contract of every family: bind to a capture, name the parts, predict what the losses need, render."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from avatarzoo.batch import HeadBatch, Prediction
from avatarzoo.capture import CaptureSummary
from avatarzoo.errors import ConfigError
from avatarzoo.rasterizers.base import Rasterizer


class Model(nn.Module, ABC):
    """A trainable component that knows no trainer.

    Constructors take the collaborating parts before ``*`` as a mapping ``parts`` (e.g. "encoding", "driver", "warp",
    "rasterizer"; see ``uses``) and configuration after it. Shapes that depend on the capture are made in ``bind``.

    Attributes:
        uses: kinds of components the model is built with; the recipe names them at its top level.
        requires: dotted paths into HeadBatch the model reads; a trailing "?" marks what may be absent.
        test_inputs: what of a test frame the model sees: "none", "tracked mesh", "pictures" or "parameters"
            (leaderboards group by it).
    """

    uses: tuple[str, ...] = ()
    #: kinds the model takes when the recipe names one
    may_use: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    test_inputs: str = "none"
    #: what ``finish`` makes, e.g. "the union grid"; shown while it is made
    finishing: str = "the last of the model"
    #: how many training frames ``finish`` asks for, evenly spread; None asks for all. Others are not read.
    finishing_frames: int | None = None
    #: what was optimised on test pictures, for records; set by ``avatarzoo.fitting``.
    test_time_fitting: str = "none"
    #: whether some steps leave parameters without a gradient, as a warp's before it switches on; set in ``bind``. Several
    #: processes then look for such parameters in each step.
    rests: bool = False
    #: options that do nothing on the capture bound to, since it names no regions; set in ``bind``, announced and recorded
    without_effect: tuple[str, ...] = ()
    #: progress of the run in 0..1, set before every step; schedules inside models read it.
    progress: float = 0.0
    #: steps completed, set beside it; schedules that count steps read it.
    iteration: int = 0
    config: dict[str, Any]

    @abstractmethod
    def bind(self, summary: CaptureSummary) -> None:
        """Make the parameters and buffers that depend on the capture.

        Called once, before weights are loaded or optimised; afterwards the state dict is complete.

        Args:
            summary: of the capture trained on, or from the checkpoint.
        """

    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """Return the parts by name: what optimisers, freezing, counting and export refer to."""

    @abstractmethod
    def predict(self, batch: HeadBatch, phase: str, carry: dict[str, Any]) -> Prediction:
        """Compute everything the loss terms of a phase need.

        Args:
            batch: the batch.
            phase: the phase's name in the recipe.
            carry: passes tensors between the phases of one step; starts empty at each step.
        """

    def after_step(self, batch: HeadBatch, prediction: Prediction, average: Callable[[Tensor], Tensor]) -> None:
        """Update running averages after an optimiser step.

        Args:
            batch: the batch of the step.
            prediction: of the step's last phase.
            average: means a tensor over all processes; every statistic has to pass through it.
        """

    def finish(self, batches: Iterable[HeadBatch], frames: int) -> None:
        """Do what is left to do once training ends; the last checkpoint is written before it, and again after it.

        Not called when a run is interrupted, and Ctrl-C ends it anywhere: what is made here has to be something that
        pictures can do without. Resuming the run makes up for it.

        Args:
            batches: frames of the training split, one by one, in order, one picture each; read only when iterated.
            frames: how many there are, at most ``finishing_frames``.
        """

    def set_finish_aside(self) -> None:
        """Render from now on as a run on its way does, without what ``finish`` made.

        For pictures that stand beside those of a run on its way, which it may change slightly. Who overrides ``finish``
        overrides this too.
        """


@dataclass(frozen=True)
class Halves:
    """A mesh avatar's work in two halves, for timing: once per object, and once per covered pixel.

    Attributes:
        decode: () -> (vertices 1,V,3 mm face-centric, the maps that pixels read), of a neutral code seen from in front.
        shade: (maps, uv N,2, positions N,3 mm) -> N,3 colours.
        networks: what ``decode`` runs; may be stored in lower precision.
        triangles, uvs, uv_triangles: topology of the vertices.
        rasterizer: of the model.
    """

    decode: Callable[[], tuple[Tensor, Tensor]]
    shade: Callable[[Tensor, Tensor, Tensor], Tensor]
    networks: tuple[nn.Module, ...]
    triangles: Tensor
    uvs: Tensor
    uv_triangles: Tensor
    rasterizer: Rasterizer


class Avatar(Model):
    """A model that renders pictures of a head."""

    @abstractmethod
    def render(self, batch: HeadBatch) -> Prediction:
        """Render the batch's cameras deterministically, as at test time.

        Args:
            batch: needs ``requires``, except pictures of the view being rendered.

        Returns:
            image, coverage, depth and (for meshes) vertices; ``extras["mesh_triangles"]`` (F,3 int32) beside vertices,
            ``extras["raster"]`` B,H,W,4 and ``extras["uv"]`` B,H,W,2 where the model rasterizes.
        """

    def halves(self) -> Halves:
        """Return the model's work per object and per pixel.

        Raises:
            ConfigError: it does not part so.
        """
        raise ConfigError(f"{type(self).__name__} has no work per object and per pixel to time; leave it out.")


class Tracker(Model):
    """A model that turns pictures into driving parameters."""

    @abstractmethod
    def track(self, batch: HeadBatch) -> dict[str, Tensor]:
        """Return driving parameters by name."""


def parameter_counts(model: Model) -> dict[str, int]:
    """Return the number of parameters of each part, for records and ``avatarzoo list``."""
    return {name: sum(p.numel() for p in part.parameters()) for name, part in model.parts().items()}
