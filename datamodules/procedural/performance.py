"""What the head does: key expressions per segment, run through smoothly, and a slow motion of the whole head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatarzoo.datamodules.arkit import ARKIT_NAMES
from avatarzoo.datamodules.procedural.expressions import rotation

Array = NDArray[np.float64]
Key = dict[str, float]


def _both(**weights: float) -> Key:
    """Give a weight to the left and the right one."""
    return {name + side: value for name, value in weights.items() for side in ("Left", "Right")}


def _look(x: float = 0.0, y: float = 0.0) -> Key:
    """Look to the subject's left (x > 0) and up (y > 0)."""
    key = {
        "EyeLookOutLeft": max(x, 0),
        "EyeLookInRight": max(x, 0),
        "EyeLookInLeft": max(-x, 0),
        "EyeLookOutRight": max(-x, 0),
    }
    return key | _both(EyeLookUp=max(y, 0), EyeLookDown=max(-y, 0))


_REST: Key = {}
TRAIN: dict[str, list[Key]] = {
    "E001_eyes_brows": [
        _REST,
        _look(0.8, 0.1),
        _look(-0.8, 0.1),
        _look(0, 0.7) | {"BrowInnerUp": 0.7} | _both(BrowOuterUp=0.8),
        _both(EyeBlink=1.0),
        _look(0.1, -0.8),
        _both(BrowDown=0.9, EyeSquint=0.7, NoseSneer=0.3),
        _both(EyeWide=0.9, BrowOuterUp=0.6) | {"BrowInnerUp": 0.9},
        {"EyeBlinkLeft": 1.0, "CheekSquintLeft": 0.6},
        {"EyeBlinkRight": 1.0, "BrowDownRight": 0.5},
    ],
    "E002_jaw_lips": [
        _REST,
        {"JawOpen": 0.35},
        {"JawOpen": 0.95} | _both(EyeSquint=0.2),
        {"MouthFunnel": 0.8, "JawOpen": 0.3},
        {"MouthPucker": 0.95},
        {"MouthRollLower": 0.7, "MouthRollUpper": 0.7} | _both(MouthPress=0.6),
        {"JawLeft": 0.8, "JawOpen": 0.15},
        {"JawRight": 0.8, "JawOpen": 0.15},
        {"MouthShrugLower": 0.8, "MouthShrugUpper": 0.4},
        _both(MouthLowerDown=0.8, MouthUpperUp=0.5) | {"JawOpen": 0.1},
    ],
    "E003_smiles": [
        _REST,
        _both(MouthSmile=0.5),
        _both(MouthSmile=0.9, CheekSquint=0.7, EyeSquint=0.4, MouthUpperUp=0.45) | {"JawOpen": 0.12},
        {"MouthSmileLeft": 0.9, "MouthDimpleLeft": 0.4},
        {"MouthSmileRight": 0.9, "CheekSquintRight": 0.5},
        _both(MouthFrown=0.9, BrowDown=0.3),
        _both(MouthStretch=0.9) | {"JawOpen": 0.2},
        {"CheekPuff": 0.9},
        _both(NoseSneer=0.9, MouthUpperUp=0.7, BrowDown=0.6),
        _both(MouthDimple=0.8),
    ],
    "E004_speech": [
        {"JawOpen": 0.25},
        _both(MouthLowerDown=0.3, MouthSmile=0.3) | {"JawOpen": 0.3},
        {"MouthPucker": 0.6, "MouthFunnel": 0.3, "JawOpen": 0.15} | _look(0.3, 0),
        {"MouthClose": 0.2, "JawOpen": 0.2} | _both(MouthPress=0.4),
        {"JawOpen": 0.55, "BrowInnerUp": 0.4} | _both(MouthUpperUp=0.3),
        _both(EyeBlink=0.9, MouthStretch=0.3) | {"JawOpen": 0.2},
        {"MouthLeft": 0.7} | _look(-0.4, -0.2),
        {"MouthRight": 0.7, "BrowOuterUpLeft": 0.6},
        {"JawForward": 0.8, "MouthRollUpper": 0.3},
        {"JawOpen": 0.7} | _both(MouthSmile=0.7, EyeSquint=0.4, CheekSquint=0.5),
    ],
}
TEST: dict[str, list[Key]] = {
    "E005_heldout": [
        _both(MouthSmile=0.25) | _look(0.2, 0.1),
        {"JawOpen": 0.6, "BrowInnerUp": 0.8} | _both(EyeWide=0.7, BrowOuterUp=0.5),
        _both(MouthSmile=0.8, MouthUpperUp=0.3, MouthLowerDown=0.3) | {"JawOpen": 0.3} | _look(-0.5, 0.2),
        {"MouthPucker": 0.6, "EyeBlinkRight": 0.9, "BrowOuterUpLeft": 0.7},
        _both(MouthFrown=0.6, EyeLookDown=0.6, BrowDown=0.5) | {"MouthShrugLower": 0.5},
        {"MouthFunnel": 0.6, "JawOpen": 0.45} | _look(0.5, -0.4),
        {"MouthSmileLeft": 0.8, "EyeBlinkLeft": 0.6, "JawOpen": 0.2, "CheekSquintLeft": 0.6},
        _both(EyeBlink=0.5, MouthPress=0.3, MouthDimple=0.3),
    ],
}


@dataclass(frozen=True)
class Performance:
    """Every frame of the capture.

    Attributes:
        frames: (segment, frame) names in order.
        split: "train" or "test" per segment.
        arkit: N,52 weights in 0..1.
        head_pose: N,3,4 face-centric -> world, mm.
    """

    frames: list[tuple[str, str]]
    split: dict[str, str]
    arkit: Array
    head_pose: Array


def perform(train_frames: int, test_frames: int, seed: int) -> Performance:
    """Lay out the segments.

    Args:
        train_frames: shared among the training segments, 1 or more.
        test_frames: of the held-out segment, 1 or more.
        seed: varies strengths, timing and head motion.
    """
    random = np.random.default_rng([seed, 23])
    share = [train_frames // len(TRAIN) + (i < train_frames % len(TRAIN)) for i in range(len(TRAIN))]
    frames, split, weights, poses = [], {}, [], []
    for (segment, keys), count in zip([*TRAIN.items(), *TEST.items()], [*share, test_frames], strict=True):
        if count == 0:
            continue
        split[segment] = "train" if segment in TRAIN else "test"
        weights.append(_run(keys, count, random))
        poses.append(_sway(count, random))
        frames += [(segment, f"{12 * i:06d}") for i in range(count)]
    return Performance(frames, split, np.concatenate(weights), np.concatenate(poses))


def _run(keys: list[Key], count: int, random: np.random.Generator) -> Array:
    table = np.array([[key.get(name, 0.0) for name in ARKIT_NAMES] for key in keys])
    table = table * random.uniform(0.92, 1.0, (len(keys), 1))
    place = np.linspace(0, len(keys) - 1, count) if count > 1 else np.array([len(keys) // 2], dtype=float)
    first = np.minimum(place.astype(int), len(keys) - 2)
    blend = np.clip((place - first) * 1.25 - 0.125, 0, 1)[:, None]  # holds each key for a moment
    blend = blend * blend * (3 - 2 * blend)
    weights = table[first] * (1 - blend) + table[first + 1] * blend
    small = random.uniform(0, 0.04, (count, len(ARKIT_NAMES))) * (table.max(0) > 0)
    return np.clip(weights + small, 0, 1)


def _sway(count: int, random: np.random.Generator) -> Array:
    time = np.arange(count) / max(count - 1, 1)
    phase, speed = random.uniform(0, 2 * np.pi, 6), random.uniform(0.5, 1.1, 6)
    swing = np.sin(phase + 2 * np.pi * speed * time[:, None]) * np.array([11, 5, 3, 4, 3, 4])
    poses = []
    for yaw, pitch, roll, x, y, z in swing:
        turn = rotation(1, yaw) @ rotation(0, pitch) @ rotation(2, roll)
        poses.append(np.concatenate([turn, [[x], [y], [z]]], 1))
    return np.array(poses)
