"""Reading FLAME's pickle: what real files hold is read, and nothing in a file is run."""

from __future__ import annotations

import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from avatarzoo.errors import DataError
from avatarzoo.rigs import flame_file
from avatarzoo.rigs.flame_file import FlameArrays, load_pickle, read_flame_file, write_flame_file


def arrays() -> FlameArrays:
    """Numbers of the right shapes that are no head."""
    random = np.random.default_rng(0)
    regressor = np.zeros((5, 5023))
    regressor[np.arange(5), np.arange(5)] = 1
    return FlameArrays(
        random.normal(size=(5023, 3)),
        random.integers(0, 5023, (9976, 3)),
        np.zeros((5023, 3, 400)),
        np.zeros((5023, 3, 36)),
        regressor,
        np.full((5023, 5), 0.2),
        "2020",
    )


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> type:
    """A chumpy that can write files; what reads them must not need it."""
    module, inner = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")

    class Ch:
        def __init__(self, x):
            self.x = x

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    inner.Ch = module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", module)
    monkeypatch.setitem(sys.modules, "chumpy.ch", inner)
    return Ch


def test_a_model_returns(tmp_path: Path) -> None:
    made = arrays()
    found = read_flame_file(write_flame_file(made, tmp_path / "generic_model.pkl"))
    for name in ("template", "triangles", "shapedirs", "posedirs", "joint_regressor", "weights", "edition"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
    assert read_flame_file(tmp_path / "generic_model.pkl", "2023").edition == "2023"


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_chumpy_arrays_and_sparse_matrices_of_any_age(tmp_path: Path, chumpy: type, protocol: int) -> None:
    dense = np.arange(12.0).reshape(3, 4) * (np.arange(4) % 2)
    content = {
        "plain": dense,
        "ch": chumpy(dense),
        "csc": sparse.csc_matrix(dense),
        "csr": sparse.csr_matrix(dense),
        "text": "lbs",
        "ids": np.arange(5, dtype=np.uint32),
    }
    data = pickle.dumps(content, protocol=protocol)
    old = data.replace(b"scipy.sparse._csc", b"scipy.sparse.csc").replace(b"scipy.sparse._csr", b"scipy.sparse.csr")
    assert protocol >= 4 or old != data  # protocol 4 writes lengths, which a replacement breaks
    for i, version in enumerate([data] if protocol >= 4 else [data, old]):
        path = tmp_path / f"{i}.pkl"
        path.write_bytes(version)
        found = load_pickle(path)
        for name in ("plain", "ch", "csc", "csr"):
            np.testing.assert_array_equal(found[name], dense)
        assert found["text"] == "lbs" and found["ids"].dtype == np.uint32


def test_python_2_s_pickles(tmp_path: Path) -> None:
    """Written by hand, as Python 2 wrote it: an array whose bytes are an 8-bit string, in protocol 2."""
    numbers = np.array([[1.5, -2.0], [1e300, 0.1]])
    raw = numbers.tobytes()
    data = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    data += (
        b"(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    data += b"\x89U" + bytes([len(raw)]) + raw + b"tb."
    (tmp_path / "x.pkl").write_bytes(data)
    np.testing.assert_array_equal(load_pickle(tmp_path / "x.pkl"), numbers)


class Hostile:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (lambda mark: Hostile(os.system, f"touch {mark}"), "system"),
        (lambda mark: Hostile(eval, f"open({str(mark)!r}, 'w')"), "eval"),
        (lambda mark: {"v_template": Hostile(exec, f"open({str(mark)!r}, 'w')")}, "exec"),
        (lambda mark: Hostile(getattr, "text", "upper"), "getattr"),
        (lambda mark: Hostile(np.load, str(mark)), "load"),
        (lambda mark: Path(mark), "Path"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path: Path, payload, named: str, protocol: int) -> None:
    mark, path = tmp_path / "mark", tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps(payload(mark), protocol=protocol))
    with pytest.raises(DataError, match=rf"refused: it holds .*{named}"):
        read_flame_file(path)
    assert not mark.exists()


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    """Dotted names (protocol 4) reach attributes; persistent ids and extension codes reach outside the file."""
    path = tmp_path / "generic_model.pkl"
    for data in (
        b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
        b"\x80\x04\x8c\x05numpy\x8c\x15ndarray.__reduce_ex__\x93.",
        b"Psomewhere\n.",
        b"\x80\x02ccopy_reg\n_reconstructor\ncnumpy\nndarray\nc__builtin__\nobject\nN\x87R.",
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match="refused"):
            read_flame_file(path)


def test_what_is_no_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "generic_model.pkl"
    with pytest.raises(DataError, match=r"no FLAME model at .*https://flame\.is\.tue\.mpg\.de.*data.flame=FILE"):
        read_flame_file(path)
    write_flame_file(arrays(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or no FLAME file"):
        read_flame_file(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="holds a list"):
        read_flame_file(path)
    path.write_bytes(pickle.dumps({"v_template": np.zeros((6890, 3))}))
    with pytest.raises(DataError, match=r"v_template of shape \(5023, 3\); the file has float64 of shape \(6890, 3\)"):
        read_flame_file(path)
    path.write_bytes(whole)
    changed = load_pickle(path) | {"kintree_table": np.zeros((2, 5))}
    monkeypatch.setattr(flame_file, "load_pickle", lambda p: changed)
    with pytest.raises(DataError, match="joints hang on"):
        read_flame_file(path)


def test_an_edition_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    path = write_flame_file(arrays(), tmp_path / "model.pkl")
    with pytest.raises(DataError, match=r"data\.flame_edition"):
        read_flame_file(path)
