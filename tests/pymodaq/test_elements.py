"""Elements that do not fit the first one are converted exactly or refused, and leave nothing."""

import errno
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h5py
import numpy as np
import pytest

from ndx_simulation_output.errors import (
    NameClashError,
    RecordingError,
    ShapeMismatchError,
    SimulationOutputWarning,
    UnitError,
    WriteError,
)
from ndx_simulation_output.pymodaq import (
    Axis,
    BkgSaver,
    DataEnlargeableSaver,
    DataExtendedSaver,
    DataLoader,
    DataRaw,
    DataToExport,
    DataToExportEnlargeableSaver,
    DataToExportExtendedSaver,
    DataToExportSaver,
    DataToExportTimedSaver,
    H5SaverLowLevel,
)
from ndx_simulation_output.storage import journaled

KINDS = ["timed", "along an axis", "alone", "scan", "scan alone"]


@pytest.fixture(scope="module")
def h5saver(tmp_path_factory):
    with H5SaverLowLevel() as saver:
        saver.init_file(tmp_path_factory.mktemp("all") / "run.nwb")
        yield saver


@pytest.fixture
def at(h5saver):
    """Return the path of a new group."""
    return h5saver.add_det_group("/RawData", "Detector").path


def adder(h5saver: H5SaverLowLevel, at: str, kind: str) -> Callable[[int, list[DataRaw]], None]:
    """Return a function that adds the elements of a number with a new or the same saver."""
    saver: Any = {
        "timed": lambda: DataToExportTimedSaver(h5saver),
        "along an axis": lambda: DataToExportEnlargeableSaver(h5saver, ("x", "y"), ("mm", "um")),
        "alone": lambda: DataEnlargeableSaver(h5saver, ("x",), ("mm",)),
        "scan": lambda: DataToExportExtendedSaver(h5saver, (3,)),
        "scan alone": lambda: DataExtendedSaver(h5saver, (3,)),
    }[kind]()
    places = {"along an axis": (0.0, 1.0), "alone": (0.5,), "scan": (0,), "scan alone": (0,)}

    def add(number: int, elements: list[DataRaw]) -> None:
        data = elements[0] if "alone" in kind else DataToExport("all", elements, timestamp=number)
        place = places.get(kind)
        if place is None:
            saver.add_data(at, data)
        else:
            saver.add_data(at, data, tuple(value + number for value in place))

    return add


def contents(h5saver: H5SaverLowLevel, at: str = "/RawData") -> dict[str, Any]:
    """Return the values and the names of the attributes of everything below a group."""
    found: dict[str, Any] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        values = repr(item[()]) if isinstance(item, h5py.Dataset) else None
        found[name] = values, list(item.attrs)

    h5saver.h5(at).visititems(note)
    return found


def one(values: Any, **options: Any) -> DataRaw:
    return DataRaw("v", data=[np.atleast_1d(values)], timestamp=1.0, **options)


CHANGED = {
    "a fraction": (0, 0.7),
    "a larger integer": (np.uint16(1), 70000),
    "a negative integer": (np.uint64(1), -1),
    "an integer above 2^63": (1, np.uint64(2**63 + 5)),
    "an integer above 2^53": (1.0, 2**53 + 1),
    "the largest integer": (1.0, 2**63 - 1),
    "a complex number": (1.0, 1 + 2j),
    "NaN": (1, np.nan),
    "infinity": (np.int32(1), np.inf),
    "not a truth value": (np.array([True]), 5),
    "more digits": (np.float32(1), 1 / 3),
    "a large float": (np.float32(1), 1e300),
    "longer text": (np.array(["on"]), np.array(["off"])),
    "text": (1.0, np.array(["2"])),
    "a later time": (
        np.array(["2026-01-01"], "M8[s]"),
        np.array(["2026-01-01T00:00:00.5"], "M8[ms]"),
    ),
    "masked integers": (1, np.ma.array([1], mask=[True])),
}


@pytest.mark.parametrize("kind", ["timed", "alone", "scan"])
@pytest.mark.parametrize("change", CHANGED)
def test_a_value_that_the_first_type_cannot_hold_is_refused(h5saver, at, kind, change):
    first, second = CHANGED[change]
    add = adder(h5saver, at, kind)
    add(0, [one(first)])
    before = contents(h5saver, at)

    with pytest.raises(RecordingError, match=r"'CH00' of 'v' in /RawData/Detector.* has "):
        add(1, [one(second)])

    assert contents(h5saver, at) == before
    add(1, [one(first)])
    with pytest.raises(RecordingError):
        adder(h5saver, at, kind)(2, [one(second)])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (0, 2.0),
        (np.uint16(1), 65535),
        (1.0, 2**53),
        (np.float32(1), 0.5),
        (np.array([True]), 0),
        (1.0, 3 + 0j),
        (np.float32(1), np.nan),
        (1 + 1j, 5),
        (np.array(["off"]), np.array(["on"])),
    ],
)
def test_an_exact_conversion_to_the_first_type_is_told_once(h5saver, at, first, second):
    add = adder(h5saver, at, "timed")
    add(0, [one(first)])

    with pytest.warns(SimulationOutputWarning, match="and stored as"):
        add(1, [one(second)])
    add(2, [one(second)])

    loaded = DataLoader(h5saver).load_data(f"{at}/Data0D/CH00/EnlData00").data[0]
    assert loaded.dtype == np.asarray(first).dtype
    np.testing.assert_array_equal(loaded[1:], np.ravel([second, second]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("first", "second", "stored"),
    [
        ((1.0, "V"), (500.0, "mV"), 0.5),
        ((1.0, "V"), (1001, "mV"), 1.001),
        ((1, "V"), (2000, "mV"), 2),
        ((1.0, "mW"), (0.25, "W"), 250.0),
        ((1.0, "s"), (3, "seconds"), 3.0),
        ((1.0, "um"), (2.0, "µm"), 2.0),
    ],
)
@pytest.mark.filterwarnings("ignore:.*and stored as")
def test_units_are_converted(h5saver, at, kind, first, second, stored):
    with_error = {"errors": [np.array([second[0] * 2])]}
    adder(h5saver, at, kind)(0, [one(first[0], units=first[1], errors=[np.array([2 * stored])])])
    add = adder(h5saver, at, kind)

    if second[1] in {"mV", "W"}:
        with pytest.warns(SimulationOutputWarning, match=f"{second[1]} is converted to"):
            add(1, [one(second[0], units=second[1], **with_error)])
    else:
        add(1, [one(second[0], units=second[1], **with_error)])

    name = "Data00" if "scan" in kind else "EnlData00"
    path = f"{at}/{name}" if "alone" in kind else f"{at}/Data0D/CH00/{name}"
    loaded = DataLoader(h5saver).load_data(path)
    assert (loaded.data[0][1], loaded.errors[0][1]) == (stored, 2 * stored)
    assert loaded.units == first[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("units", "value", "error"),
    [
        (("V", "A"), 1.0, UnitError),
        (("V", ""), 1.0, UnitError),
        (("", "V"), 1.0, UnitError),
        (("furlong", "mile"), 1.0, UnitError),
        (("K", "degC"), 1.0, UnitError),
        (("V", "mV"), 1, RecordingError),
    ],
)
def test_units_that_cannot_be_converted_are_refused(h5saver, at, kind, units, value, error):
    adder(h5saver, at, kind)(0, [one(value, units=units[0])])
    before = contents(h5saver, at)

    for _ in range(2):
        with pytest.raises(error, match="'v'"):
            adder(h5saver, at, kind)(1, [one(value, units=units[1])])

    assert contents(h5saver, at) == before


def two(first: float, second: float, *labels: str, **options: Any) -> DataRaw:
    data = [np.array([first]), np.array([second])]
    errors = [one_array / 10 for one_array in data]
    return DataRaw("v", data=data, labels=labels, errors=errors, timestamp=1.0, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_followed_where_their_order_changes(h5saver, at, kind):
    adder(h5saver, at, kind)(0, [two(1, 2, "x", "y")])

    with pytest.warns(SimulationOutputWarning, match="are put in the order x, y"):
        adder(h5saver, at, kind)(1, [two(4, 3, "y", "x")])

    name = "Data00" if "scan" in kind else "EnlData00"
    path = f"{at}/{name}" if "alone" in kind else f"{at}/Data0D/CH00/{name}"
    loaded = DataLoader(h5saver).load_data(path, load_all=True)
    assert [values[:2].tolist() for values in loaded.data] == [[1, 3], [2, 4]]
    assert [values[:2].tolist() for values in loaded.errors] == [[0.1, 0.3], [0.2, 0.4]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("element", "error"),
    [
        (two(1, 2, "x", "z"), RecordingError),
        (two(1, 2, "x", "x"), RecordingError),
        (DataRaw("v", data=[np.ones(1)], labels=["x"]), ShapeMismatchError),
        (DataRaw("v", data=[np.ones(1)] * 2, labels=["x", "y"]), ShapeMismatchError),
        (DataRaw("v", data=[np.ones(1)] * 3, labels=["x", "y"]), ShapeMismatchError),
    ],
)
def test_other_labels_and_numbers_of_arrays_are_refused(h5saver, at, kind, element, error):
    adder(h5saver, at, kind)(0, [two(1, 2, "x", "y")])
    before = contents(h5saver, at)

    with pytest.raises(error, match="expected"):
        adder(h5saver, at, kind)(1, [element])

    assert contents(h5saver, at) == before


@pytest.mark.parametrize("kind", ["alone", "scan alone"])
@pytest.mark.parametrize(
    "element",
    [
        DataRaw("w", data=[np.ones((2, 2))], nav_indexes=(0,)),
        DataRaw("v", data=[np.ones((2, 2))], nav_indexes=(1,)),
        DataRaw("v", data=[np.ones((2, 3))], nav_indexes=(0,)),
        DataRaw("v", data=[np.ones((1, 2, 2))], nav_indexes=(0,)),
    ],
)
def test_data_of_another_name_shape_or_navigation_are_refused(h5saver, at, kind, element):
    adder(h5saver, at, kind)(0, [DataRaw("v", data=[np.ones((2, 2))], nav_indexes=(0,))])
    before = contents(h5saver, at)

    with pytest.raises((RecordingError, ShapeMismatchError), match="expected"):
        adder(h5saver, at, kind)(1, [element])

    assert contents(h5saver, at) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("axis", "gain"),
    [
        (Axis("x", "um", np.array([400.0, 500.0, 700.0])), 1),
        (Axis("y", "nm", np.array([400.0, 500.0, 700.0])), 1),
        (Axis("x", "nm", np.array([400.0, 500.0, 701.0])), 1),
        (Axis("x", "nm", np.array([400.0, 500.0, 700.0])), 2),
        (Axis("x", "um", np.array([0.4, 0.5, 0.7])), 1),
    ],
)
def test_other_axes_and_attributes_are_told_of(h5saver, at, kind, axis, gain):
    x = Axis("x", "nm", np.array([400, 500, 700]))
    adder(h5saver, at, kind)(0, [DataRaw("v", data=[np.ones(3)], axes=[x], gain=1)])
    element = DataRaw("v", data=[np.ones(3)], axes=[axis], gain=gain)

    if axis.data[0] == 0.4:
        adder(h5saver, at, kind)(1, [element])
    else:
        with pytest.warns(SimulationOutputWarning, match="differs from that of the first"):
            adder(h5saver, at, kind)(1, [element])
        last = h5saver.get_node("/RawData/Logger").read()[-1]
        assert last.startswith("warning: a")
        assert "differs from that of the first" in last


@pytest.mark.parametrize("values", [(1 + 1j,), ("a",), (2**53 + 1,), (None,), (1.0, 2.0), ()])
def test_values_that_do_not_fit_the_axes_are_refused(h5saver, at, values):
    saver = DataEnlargeableSaver(h5saver, ("x",), ("mm",))
    with pytest.raises((RecordingError, ShapeMismatchError, TypeError)):
        saver.add_data(at, one(1.0), values or (1.0, 2.0))
    assert list(h5saver.get_node(at).children()) == []
    saver.add_data(at, one(1.0), (1.0,))
    before = contents(h5saver, at)

    with pytest.raises((RecordingError, ShapeMismatchError, TypeError)):
        saver.add_data(at, one(1.0), values or None)

    assert contents(h5saver, at) == before
    with pytest.raises(RecordingError, match="are 'x' in mm; expected these axes instead of 'x'"):
        DataEnlargeableSaver(h5saver, ("x",), ("um",)).add_data(at, one(1.0), (1.0,))


def test_axes_cannot_begin_after_the_first_element(h5saver, at):
    saver = DataToExportEnlargeableSaver(h5saver, ("x",), ("mm",))
    saver.add_data(at, DataToExport("all", [one(1.0)]))

    with pytest.raises(ShapeMismatchError, match="differ in length"):
        saver.add_data(at, DataToExport("all", [one(1.0)]), (1.0,))

    assert len(DataLoader(h5saver).load_all(at)[0].data[0]) == 1


def test_a_set_of_a_reopened_file_needs_all_channels(h5saver, at):
    pair = [one(1.0), DataRaw("w", data=[np.ones(2)])]
    adder(h5saver, at, "timed")(0, pair)
    h5saver.init_file(h5saver.file_path)

    for elements in ([pair[0]], [pair[1]], [*pair, DataRaw("z", data=[np.ones(2)])], []):
        with pytest.raises(ShapeMismatchError, match="as in the first one"):
            adder(h5saver, at, "timed")(1, elements)

    adder(h5saver, at, "timed")(1, pair[::-1])
    assert [data.shape for data in DataLoader(h5saver).load_all(at)] == [(2,), (2, 2)]


def test_a_scan_of_another_shape_is_refused(h5saver, at):
    adder(h5saver, at, "scan")(0, [one(1.0)])

    with pytest.raises(ShapeMismatchError, match=r"expected a scan of shape \(4,\)"):
        DataToExportExtendedSaver(h5saver, (4,)).add_data(at, DataToExport("all", [one(1.0)]), (3,))
    with pytest.raises(ShapeMismatchError, match="navigation axis 'p' has 2 values"):
        DataToExportExtendedSaver(h5saver, (3,)).add_nav_axes(at, [Axis("p", "mm", np.ones(2))])
    with pytest.raises(IndexError, match=r"no point \(0.7,\)"):
        DataExtendedSaver(h5saver, (3,)).add_data(at, one(1.0), (0.7,))


# A set that fails leaves nothing.


def elements() -> list[DataRaw]:
    x = Axis("x", "nm", np.array([400.0, 500.0, 700.0]))
    spectrum = DataRaw(
        "spectrum",
        data=[np.arange(3.0), np.arange(3.0) + 1],
        errors=[np.full(3, 0.5)] * 2,
        axes=[x],
    )
    phase = DataRaw("phase", data=[np.array([1j])])
    power = DataRaw("power", data=[np.array([2.0])])
    return [phase, spectrum, power]


def broken(position: str) -> list[DataRaw]:
    """Return elements of which only the part at a position cannot be saved."""
    found = elements()
    if position == "axis":
        found[1].axes[0] = Axis("x", "nm", np.ones(2))
    elif position == "axis of text":
        found[1].axes[0] = Axis("x", "nm", np.array(["a", "b", "c"]))
    elif position.startswith("channel"):
        found[int(position[-1])].data[0] = np.array([object()], object)
    elif position.startswith("error"):
        found[1].errors[int(position[-1])] = np.ma.array([1, 2, 3], mask=[True, False, False])
    else:
        found[1].data[int(position[-1])] = np.array([None, 1, "a"], object)
    return found


POSITIONS = ["channel 0", "channel 2", "array 0", "array 1", "error 0", "error 1"]
POSITIONS += ["axis", "axis of text"]


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("kind", ["timed", "along an axis", "scan", "set", "background"])
@pytest.mark.parametrize("position", POSITIONS)
def test_a_set_that_is_refused_leaves_nothing(h5saver, at, kind, is_first, position):
    sets = DataToExportSaver(h5saver)
    add = {
        "set": lambda _, elements: sets.add_data(at, DataToExport("all", elements)),
        "background": lambda _, elements: sets.add_bkg(at, DataToExport("all", elements)),
    }.get(kind) or adder(h5saver, at, kind)
    if not is_first:
        add(0, elements())
    before = contents(h5saver, at)

    if "axis" in position and kind == "background":
        add(1, broken(position))
        return
    with pytest.raises((RecordingError, ShapeMismatchError)):
        add(1, broken(position))

    assert contents(h5saver, at) == before
    add(1, elements())


def save_all(h5saver: H5SaverLowLevel, number: int) -> list[Callable[[], object]]:
    """Return the additions of one step of all savers."""
    export = DataToExport("all", elements()[:2], timestamp=number)
    small = DataToExport("all", elements()[::2])
    timed, scan = DataToExportTimedSaver(h5saver), DataToExportExtendedSaver(h5saver, (2,))
    growing = DataEnlargeableSaver(h5saver, ("x",), ("mm",))
    return [
        lambda: timed.add_data("/RawData/Detector000", export),
        lambda: growing.add_data("/RawData/Detector001", elements()[0], (number,)),
        lambda: scan.add_nav_axes("/RawData/Detector002", [Axis("p", "mm", np.arange(2.0))]),
        lambda: scan.add_data("/RawData/Detector002", small, (number,)),
        lambda: DataToExportSaver(h5saver).add_data("/RawData/Detector003", small),
        lambda: BkgSaver(h5saver).add_data("/RawData/Detector003", elements()[1]),
        lambda: h5saver.add_det_group("/RawData", "Camera", metadata={"gain": 1}),
        lambda: h5saver.add_array("/RawData", f"A{number}", "data", np.ones(3)),
        lambda: h5saver.add_log("lamp on"),
    ]


class Failing:
    """Makes the call of a number of the methods of h5py that write raise an error of the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        for owner, names in (
            (h5py.Group, ("create_dataset", "__setitem__")),
            (h5py.Dataset, ("resize", "__setitem__")),
            (h5py.AttributeManager, ("__setitem__",)),
        ):
            for name in names:
                monkeypatch.setattr(owner, name, self._wrap(getattr(owner, name)))

    def _wrap(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                raise OSError(errno.ENOSPC, "no space left on device")
            return method(*args, **kwargs)

        return call


@pytest.mark.parametrize("is_first", [True, False])
def test_a_write_that_fails_anywhere_is_undone(tmp_path, monkeypatch, is_first):
    h5saver = H5SaverLowLevel()
    h5saver.init_file(tmp_path / "run.nwb")
    for _ in range(4):
        h5saver.add_det_group("/RawData", "Detector")
    if not is_first:
        for add in save_all(h5saver, 0):
            add()
    failing = Failing(monkeypatch)
    for position, add in enumerate(save_all(h5saver, 1)):
        before, count, is_failing = contents(h5saver), 0, True
        while is_failing:
            failing.left = count
            try:
                add()
                is_failing = False
            except OSError:
                failing.left = -1
                assert contents(h5saver) == before, (position, count)
            count += is_failing
        failing.left = -1
        assert count > 0 or (position == 2 and not is_first)
        assert (contents(h5saver) != before) == (count > 0)
    h5saver.close_file()


def test_channels_agree_after_an_error_of_the_disk(tmp_path, monkeypatch):
    path, counts = tmp_path / "run.nwb", set()
    images = [DataRaw(name, data=[np.ones((40, 100))]) for name in ("a", "b", "c")]
    for failing in (*range(3), *range(30, 400, 37)):
        saver = H5SaverLowLevel()
        saver.init_file(path, new_file=True)
        at = saver.add_det_group("/RawData").path
        add, left = adder(saver, at, "along an axis"), [failing]

        def write_at(*args: Any, _left: list[int] = left) -> None:
            _left[0] -= 1
            if _left[0] < 0:
                raise OSError(errno.ENOSPC, "no space left on device")
            WRITE_AT(*args)

        with monkeypatch.context() as patched, suppress(OSError):
            patched.setattr(journaled, "write_at", write_at)
            for number in range(4):
                add(number, images)
                saver.flush()
        with monkeypatch.context() as patched, suppress(WriteError):
            patched.setattr(journaled, "write_at", write_at)
            saver.close_file()
        del saver, add

        with H5SaverLowLevel() as reopened:
            reopened.init_file(path)
            found = [data.shape[0] for data in DataLoader(reopened).load_all("/RawData")]
            assert len(set(found)) <= 1
            assert len(found) in {0, 3}
            counts |= set(found)
            if found:
                adder(reopened, at, "along an axis")(9, images)
    assert len(counts) > 1


WRITE_AT = journaled.write_at


def test_a_name_that_exists_is_refused(h5saver, at):
    h5saver.add_array(at, "Data00", "data", np.ones(2))
    before = contents(h5saver, at)

    with pytest.raises(NameClashError, match="already has an object Data00"):
        h5saver.add_array(at, "Data00", "data", np.zeros(2))

    assert contents(h5saver, at) == before


def test_values_of_a_node_are_kept_or_refused(h5saver, at):
    node = h5saver.add_array(
        at, "Counts", "data", data_shape=(2,), array_type="i2", enlargeable=True
    )
    node.append([1, 2])

    for values in ([0.7, 1], [1, 70000], [np.nan, 1], np.ma.array([1, 2], mask=[1, 0])):
        with pytest.raises(RecordingError, match="Counts has"):
            node.append(values)
        with pytest.raises(RecordingError, match="Counts has"):
            node[0] = values
    with pytest.raises(ShapeMismatchError, match=r"the element has shape \(3,\)"):
        node.append([1, 2, 3])
    with pytest.raises(RecordingError, match="Bad has"):
        h5saver.add_array(at, "Bad", "data", np.array([0.7]), array_type="i4")
    with pytest.raises(RecordingError, match="fill_value of Bad has nan"):
        h5saver.add_array(at, "Bad", "data", data_shape=(2,), array_type="i4", fill_value=np.nan)

    assert node.read().tolist() == [[1, 2]]
    assert list(h5saver.get_node(at).children()) == ["Counts"]
