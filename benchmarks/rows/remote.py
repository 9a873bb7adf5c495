"""Open a file on a server and read one cell, compared with pynwb's default layout."""

import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import Bench
from claims import Claim, Section, at_most
from inputs.reports import write_report
from inputs.size import Size
from measuring import Way, WorkError, run_once
from range_server import Traffic, serve
from tables import spread, table

__all__ = ["measure"]

LATENCY = 0.05
GIGABYTES = 0.32  # beside a report of 1.6
ROUNDS = 1  # nearly all of it is waiting
OURS = "open_output, our default layout"
OTHERS = {
    "pynwb and remfile, contiguous": "remfile",
    "pynwb and fsspec, contiguous": "read-ahead",
    "pynwb and fsspec with 1 MiB blocks, contiguous": "blocks",
}


@dataclass
class Visit:
    """Results of each round of one method, and its error."""

    seconds: list[float] = field(default_factory=list)
    requests: int = 0
    megabytes: float = 0.0
    problem: str = ""


def measure(bench: Bench) -> Section:
    """Measure all by turns; every answer of the server is late."""
    # A proxy between this machine and itself would be measured too.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    size = Size.of(bench.scaled(round(GIGABYTES * 1e9)) / 1e9)
    served = bench.scratch / "served"
    served.mkdir()
    chunked, contiguous = _make_files(bench, size, served)
    cell = size.cells // 2
    columns = [cell * size.compartments, (cell + 1) * size.compartments]
    visits = {label: Visit() for label in (OURS, *OTHERS)}
    with serve(served, LATENCY) as (address, traffic):
        given: dict[str, Any] = {"url": f"{address}{contiguous.name}", "columns": columns}
        ways = {OURS: _way("ours:read_remote_cell", url=f"{address}{chunked.name}", cell=cell)}
        for label, client in OTHERS.items():
            ways[label] = _way("pynwb_alone:read_remote_columns", client=client, **given)
        for number in range(min(ROUNDS, bench.repeats)):
            for label, way in ways.items():
                _visit(bench, way, traffic, visits[label])
                bench.tell(f"visit {number + 1}: {label}: {visits[label].requests} requests")
    for path in (chunked, contiguous):
        path.unlink()
    claims = [_claim(visits, label) for label in OTHERS]
    return Section(f"Remote file, latency {LATENCY * 1000:g} ms: {size}", claims, [_table(visits)])


def _way(work: str, **options: Any) -> Way:
    return Way(work, options=options)


def _make_files(bench: Bench, size: Size, directory: Path) -> tuple[Path, Path]:
    """Write the same recording as we convert it and as pynwb writes it by default."""
    report = bench.scratch / "remote.h5"
    chunked, contiguous = directory / "chunked.nwb", directory / "contiguous.nwb"
    bench.tell(f"making {size} for the server")
    write_report(report, size)
    run_once(Way("ours:convert", report), chunked, bench.scratch)
    run_once(Way("pynwb_alone:write_contiguous", report), contiguous, bench.scratch)
    report.unlink()
    return chunked, contiguous


def _visit(bench: Bench, way: Way, traffic: Traffic, visit: Visit) -> None:
    client = way.options.get("client")
    module = {None: "h5py", "remfile": "remfile"}.get(client, "fsspec")
    if find_spec(module) is None:
        visit.problem = f"not measured: {module} is not installed"
    if visit.problem:
        return
    traffic.reset()
    try:
        run = run_once(way, None, bench.scratch)
    except WorkError as error:
        visit.problem = f"failed: {error}"
        return
    visit.seconds.append(run.seconds)
    visit.requests, visit.megabytes = traffic.requests, traffic.sent_bytes / 1e6


def _claim(visits: dict[str, Visit], label: str) -> Claim:
    ours, other = visits[OURS], visits[label]
    problem = ours.problem or other.problem
    return Claim(
        "open and read one cell", label, at_most(0.5), ours.seconds, other.seconds, problem=problem
    )


def _table(visits: dict[str, Visit]) -> str:
    rows = [
        [label, spread(visit.seconds), str(visit.requests), f"{visit.megabytes:.1f}"]
        for label, visit in visits.items()
        if visit.seconds
    ]
    return table(["method", "seconds", "requests", "MB sent"], rows)
