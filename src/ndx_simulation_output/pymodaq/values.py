"""Values of arrays that are stored, converted and subtracted exactly, or refused."""

import warnings
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndx_simulation_output.errors import RecordingError, SimulationOutputWarning, UnitError
from ndx_simulation_output.nwb.arrays_hdf5 import as_stored, clean_text, encoded


def stored_values(
    values: Any, where: str, dtype: np.dtype[Any] | None = None
) -> NDArray[np.generic]:
    """Return values encoded for storage, as ``dtype`` if specified; raise if they would change."""
    array = plain_values(values, where)
    if dtype is not None:
        array = _exact(array, dtype, where)
    if array.dtype.kind == "O":
        array = _texts(array, where)
    stored, added, _ = encoded(array.dtype, where)
    return as_stored(array, stored, added)


def plain_values(values: Any, where: str) -> NDArray[Any]:
    """Return an array that is not masked: masked numbers become NaN, with a warning, or raise."""
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    n_masked = int(np.ma.getmaskarray(values).sum())
    if not n_masked:
        return np.asarray(values.data)
    found = f"{where} has {n_masked} masked values of {values.size}"
    if values.dtype.kind not in "fc":
        msg = f"{found}, which {values.dtype} cannot mark; expected floats, or values set by filled"
        raise RecordingError(msg)
    warnings.warn(f"{found}, which are saved as NaN", SimulationOutputWarning, stacklevel=2)
    return np.asarray(values.filled(np.nan))


def are_exact(values: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Return True if a type holds all of these values, or Python integers, exactly."""
    if values.dtype.kind == "O":
        kept = values.astype(dtype)
        return bool(np.isfinite(kept).all()) and values.tolist() == kept.astype(object).tolist()
    return bool(_converted(values, dtype)[1].all())


def _exact(values: NDArray[Any], dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """Convert values to a type; raise RecordingError if one of them would change."""
    converted, equal = _converted(values, dtype)
    if not equal.all():
        changed = values[~equal].flat[0]
        msg = (
            f"{where} has {changed} of type {values.dtype}; expected values that {dtype}, the type "
            "of the array, holds exactly: save the first element with a type that holds all others"
        )
        raise RecordingError(msg)
    return converted


def _converted(
    values: NDArray[Any], dtype: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return values as another type, and True for each that this does not change."""
    native = dtype.newbyteorder("=")
    if values.dtype.newbyteorder("=") == native:
        return values, np.ones(values.shape, bool)
    kinds = {values.dtype.kind, dtype.kind}
    if len(kinds) > 1 and not kinds <= set("biufc"):
        return values, np.zeros(values.shape, bool)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = values.astype(native)
        return converted, _are_kept(values, converted)


def _are_kept(values: NDArray[Any], converted: NDArray[Any]) -> NDArray[np.bool_]:
    """Return True for each value that is not changed by a conversion."""
    equal = _same(values, converted.astype(values.dtype))
    # Integers that overflow may come back unchanged.
    for whole, other in ((values, converted), (converted, values)):
        if whole.dtype.kind in "iu" and other.dtype.kind in "iufc":
            equal &= _are_within(other, np.iinfo(whole.dtype))
    return equal


def _same(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Return True for each value that is equal or missing in both arrays of the same type."""
    if first.dtype.kind == "c":
        return _same(first.real, second.real) & _same(first.imag, second.imag)
    equal = first == second
    if first.dtype.kind in "fmM":
        equal |= np.isnan(first) & np.isnan(second)
    return np.asarray(equal)


def _are_within(values: NDArray[Any], limits: Any) -> NDArray[np.bool_]:
    """Return True for each number within the limits of a type of integers."""
    low, high = int(limits.min), int(limits.max)
    if values.dtype.kind in "iu":
        own = np.iinfo(values.dtype)
        above = values >= max(low, int(own.min)) if low > own.min else np.ones(values.shape, bool)
        below = values <= min(high, int(own.max)) if high < own.max else np.ones(values.shape, bool)
        return np.asarray(above & below)
    real = values.real.astype(np.result_type(values.real.dtype, np.float64))
    return np.asarray((real >= float(low)) & (real < float(high + 1)))


def _texts(values: NDArray[Any], where: str) -> NDArray[Any]:
    """Return an array of strings that HDF5 can store; raise if it has other objects."""
    found = values.ravel().tolist()
    for item in found:
        if not isinstance(item, str | bytes):
            msg = f"{where} contains a {type(item).__name__}; expected numbers or text"
            raise RecordingError(msg)
    texts = np.empty(len(found), object)
    texts[:] = [(clean_text(item) or "") if isinstance(item, str) else item for item in found]
    return texts.reshape(values.shape)


def converted_values(values: NDArray[Any], ratio: Fraction) -> NDArray[Any]:
    """Return numbers multiplied by the ratio of two units, as correctly rounded as division is.

    Integers stay integers where the results are whole.
    """
    up, down = ratio.numerator, ratio.denominator
    if ratio == 1:
        return values
    if values.dtype.kind not in "biufcO":
        msg = f"values of type {values.dtype} are in another unit; expected numbers"
        raise UnitError(msg)
    if values.dtype.kind == "c":
        parts = [converted_values(part, ratio) for part in (values.real, values.imag)]
        both = np.empty(values.shape, np.result_type(parts[0], np.complex64))
        both.real, both.imag = parts
        return both
    if values.dtype.kind == "f":
        # One of the two is 1 for units that differ by a prefix.
        found = values.astype(np.result_type(values, np.float64)) * up / down
        with np.errstate(over="ignore"):
            narrow = found.astype(values.dtype)
        return narrow if np.array_equal(np.isfinite(narrow), np.isfinite(values)) else found
    exact = values.astype(object) * up
    if not (exact % down).any():
        return _as_integers(exact // down)
    return np.asarray(exact / down, np.float64)


def _as_integers(values: NDArray[Any]) -> NDArray[Any]:
    """Return Python integers as int64 or uint64 if one of them can hold all of them."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.asarray(values, dtype)
    return values


def exact_difference(values: NDArray[Any], other: NDArray[Any], where: str) -> NDArray[Any]:
    """Return the exact difference of integers, and the difference of floats, of any types."""
    for operand in (values, other):
        if operand.dtype.kind not in "biufcOmM":
            msg = f"{where} or what it is subtracted from is text; expected numbers"
            raise RecordingError(msg)
    if not (_are_whole(values) and _are_whole(other)):
        dtype = np.result_type(values, other)
        for operand in (values, other):
            if _are_whole(operand) and not are_exact(operand, dtype):
                msg = (
                    f"{where} is subtracted as {dtype}, which does not hold all integers of type "
                    f"{operand.dtype} exactly; expected data and background of integers"
                )
                raise RecordingError(msg)
        return np.asarray(values.astype(dtype) - other.astype(dtype))
    if not values.size or not other.size:
        return values
    low = int(values.min()) - int(other.max())
    high = int(values.max()) - int(other.min())
    size = max(values.dtype.itemsize, other.dtype.itemsize)
    types = [np.dtype(kind) for kind in (np.int16, np.int32, np.int64, np.uint64)]
    types = [dtype for dtype in types if dtype.itemsize >= size]
    if "O" not in {values.dtype.kind, other.dtype.kind}:
        types.insert(0, np.result_type(values, other, np.int8))
    for dtype in types:
        if dtype.kind in "iu" and np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            # The difference modulo 2^64 is exact.
            wrapped = _modulo(values) - _modulo(other)
            return np.asarray(wrapped.astype(np.int64 if low < 0 else np.uint64).astype(dtype))
    return np.asarray(values.astype(object) - other.astype(object))


def _are_whole(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "biuO"


def _modulo(values: NDArray[Any]) -> NDArray[np.uint64]:
    if values.dtype.kind == "O":
        return np.asarray(values % 2**64, np.uint64)
    return values.astype(np.uint64)
