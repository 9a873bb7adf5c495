"""NEST: text files of its recording devices, and the states of networks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ndx_simulation_output.nest.states import load, save, snapshot

__all__ = ["load", "save", "snapshot"]


def __getattr__(name: str) -> Any:
    """Import what saves and loads states when it is used: text files are read without pynwb."""
    if name in __all__:
        from ndx_simulation_output.nest import states

        return getattr(states, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
