"""Read FLAME's licensed pickle without chumpy and without running anything that is in it."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarzoo.errors import DataError

VERTICES, TRIANGLES, COLUMNS, SHAPES, JOINTS = 5023, 9976, 400, 300, 5
PARENTS = (-1, 0, 1, 1, 1)  #: root, neck, jaw, left eye, right eye
EYEBALLS = {"left": slice(3931, 4477), "right": slice(4477, 5023)}

#: file name -> edition. Expression codes of 2020 and 2023 are not interchangeable.
EDITIONS = {
    "generic_model.pkl": "2020",
    "flame2023.pkl": "2023",
    "flame2023_no_jaw.pkl": "2023_no_jaw",
    "flame2023_open.pkl": "2023_open",
}
WHERE = (
    "FLAME is licensed and cannot come with AvatarZoo: register at https://flame.is.tue.mpg.de, download FLAME 2020 "
    "(generic_model.pkl), FLAME 2023 (flame2023.pkl) or FLAME 2023 Open (flame2023_Open.pkl), and set data.flame=FILE, or "
    "put it into the folder that AVATARZOO_FLAME names. Without a licence, data.flame=flame_layout takes AvatarZoo's "
    "own model of the same layout, which data=synthetic data.rig=flame_layout is made with."
)


@dataclass(frozen=True)
class FlameArrays:
    """What a FLAME file holds, in its own unit (metres), checked.

    Attributes:
        template: 5023,3.
        triangles: 9976,3 int64.
        shapedirs: 5023,3,400: 300 of shape, then 100 of expression.
        posedirs: 5023,3,36.
        joint_regressor: 5,5023 float64, dense.
        weights: 5023,5.
        edition: "2020", "2023", "2023_no_jaw", "2023_open", "layout" (AvatarZoo's own head) or what the user says.
    """

    template: NDArray[np.float64]
    triangles: NDArray[np.int64]
    shapedirs: NDArray[np.float64]
    posedirs: NDArray[np.float64]
    joint_regressor: NDArray[np.float64]
    weights: NDArray[np.float64]
    edition: str


class _Refused(pickle.UnpicklingError):
    """What the file asks for is not an array."""


class _Inert:
    """Stands in for a class of the pickle: keeps the state it is given and can do nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Ch(_Inert):
    """chumpy.ch.Ch: an array under the key "x"."""


class _Sparse(_Inert):
    """A SciPy sparse matrix: data, indices, indptr and shape."""


def _reconstructor(cls: type, base: type, state: Any) -> Any:
    """Do what copyreg's does for the stand-ins, and refuse everything else."""
    if not (isinstance(cls, type) and issubclass(cls, _Inert)) or base is not object:
        raise _Refused(f"an instance of {cls!r}")
    return cls()


def _encode(text: str, encoding: str) -> bytes:
    """Do what Python 2's strings need, in the one encoding NumPy writes them in."""
    if encoding != "latin1" or not isinstance(text, str):
        raise _Refused("an encoding other than latin1")
    return text.encode("latin1")


def _from_buffer(data: Any, kind: Any, shape: Any, order: str) -> NDArray[Any]:
    """Do what NumPy's own does for arrays of protocol 5, for numbers only."""
    kind = np.dtype(kind)
    if kind.hasobject or not isinstance(data, (bytes, bytearray)):
        raise _Refused("an array of objects")
    return np.frombuffer(data, dtype=kind).reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]


def _allowed() -> dict[tuple[str, str], Any]:
    from numpy._core import multiarray

    found: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode,
        ("chumpy.ch", "Ch"): _Ch,
    }
    for core in ("numpy.core", "numpy._core"):
        found[f"{core}.multiarray", "_reconstruct"] = multiarray._reconstruct
        found[f"{core}.numeric", "_frombuffer"] = _from_buffer
    for module in ("copy_reg", "copyreg"):
        found[module, "_reconstructor"] = _reconstructor
    for module in ("__builtin__", "builtins"):
        found[module, "object"] = object
    for kind in ("csc", "csr"):
        for module in (f"scipy.sparse.{kind}", f"scipy.sparse._{kind}"):
            found[module, f"{kind}_matrix"] = type(kind, (_Sparse,), {"kind": kind})
    return found


class _Unpickler(pickle.Unpickler):
    allowed = _allowed()

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class or stand-in."""
        if (module, name) not in self.allowed:
            raise _Refused(f"{module}.{name}")
        return self.allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to outside the file."""
        raise _Refused("a persistent id")


def load_pickle(path: Path) -> Any:
    """Read a pickle of arrays; nothing in it is executed or imported.

    Args:
        path: the file.

    Returns:
        Plain containers; chumpy arrays and sparse matrices became dense NumPy arrays.

    Raises:
        DataError: it asks for anything but arrays, or is no pickle.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). {WHERE}") from error
    try:
        content = _Unpickler(io.BytesIO(raw), encoding="latin1").load()
        return _plain(content)
    except _Refused as error:
        raise DataError(
            f"{path} is refused: it holds {error}, and only arrays are read from a FLAME file (nothing in it was run). "
            "Download the file again from where it came from."
        ) from error
    except Exception as error:  # damaged bytes make an unpickler raise anything
        raise DataError(f"{path} is damaged or no FLAME file ({type(error).__name__}: {str(error)[:120]}).") from error


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > 8:
        raise _Refused("containers nested too deeply")
    if isinstance(value, _Ch):
        return _plain(value.state["x"], depth + 1)
    if isinstance(value, _Sparse):
        return _dense(value)
    if isinstance(value, dict):
        return {key: _plain(v, depth + 1) for key, v in value.items()}
    return value


def _dense(value: _Sparse) -> NDArray[np.float64]:
    from scipy import sparse

    state = value.state
    shape = state.get("_shape", state.get("shape"))
    make = sparse.csc_matrix if value.kind == "csc" else sparse.csr_matrix  # type: ignore[attr-defined]
    parts = tuple(np.asarray(state[key]) for key in ("data", "indices", "indptr"))
    if np.prod(shape) > 1e8:
        raise _Refused(f"a sparse matrix of shape {shape}")
    matrix = make(parts, shape=tuple(int(n) for n in shape))
    matrix.check_format(full_check=True)
    return np.asarray(matrix.toarray(), dtype=np.float64)


def edition_of(path: Path) -> str | None:
    """Return the edition a file's name means, or None."""
    return EDITIONS.get(path.name.lower())


def read_flame_file(path: str | Path, edition: str | None = None) -> FlameArrays:
    """Read a FLAME model.

    Args:
        path: of generic_model.pkl (2020), flame2023.pkl or flame2023_Open.pkl.
        edition: which of them it is; None reads it off the file's name.

    Raises:
        DataError: absent, refused, damaged, of another layout, or of an edition that cannot be told.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"There is no FLAME model at {path}. {WHERE}")
    edition = edition or edition_of(path)
    if edition is None:
        raise DataError(
            f"{path} does not say which edition of FLAME it is, and expression codes of 2020 and 2023 do not mix; set "
            f"data.flame_edition to one of {', '.join(sorted(set(EDITIONS.values())))}."
        )
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__}, not a FLAME model.")
    wanted = {
        "v_template": (VERTICES, 3),
        "f": (TRIANGLES, 3),
        "shapedirs": (VERTICES, 3, COLUMNS),
        "posedirs": (VERTICES, 3, 9 * (JOINTS - 1)),
        "J_regressor": (JOINTS, VERTICES),
        "weights": (VERTICES, JOINTS),
        "kintree_table": (2, JOINTS),
    }
    arrays = {}
    for key, shape in wanted.items():
        found = np.asarray(content[key]) if key in content else None
        if found is None or found.dtype.kind not in "fiu" or found.shape != shape:
            said = "lacks it" if found is None else f"has {found.dtype} of shape {found.shape}"
            raise DataError(f"{path}: expected {key} of shape {shape}; the file {said}, so it is no FLAME model.")
        if not np.isfinite(found).all():
            raise DataError(f"{path}: {key} holds numbers that are not finite; download the file again.")
        arrays[key] = found
    if tuple(arrays["kintree_table"][0, 1:].astype(int)) != PARENTS[1:]:
        raise DataError(f"{path}: joints hang on {arrays['kintree_table'][0].tolist()}, in FLAME on {list(PARENTS)}.")
    triangles = arrays["f"].astype(np.int64)
    if triangles.min() < 0 or triangles.max() >= VERTICES:
        raise DataError(f"{path}: a triangle names vertex {int(triangles.max())} of {VERTICES}; download the file again.")
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")
    template, shapedirs, posedirs, regressor, weights = (arrays[n].astype(np.float64) for n in names)
    return FlameArrays(template, triangles, shapedirs, posedirs, regressor, weights, edition)


def write_flame_file(arrays: FlameArrays, path: Path) -> Path:
    """Write a model as FLAME's own files hold it (J_regressor sparse, the rest arrays).

    Args:
        arrays: the model, in metres.
        path: of the pickle.
    """
    from scipy import sparse

    content = {
        "v_template": arrays.template,
        "f": arrays.triangles.astype(np.uint32),
        "shapedirs": arrays.shapedirs,
        "posedirs": arrays.posedirs,
        "J_regressor": sparse.csc_matrix(arrays.joint_regressor),
        "J": arrays.joint_regressor @ arrays.template,
        "weights": arrays.weights,
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.int64),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path
