"""What the ranks of an MPI job stream into one file, joined, and how it is laid out there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ndx_simulation_output.engine.layout import Layout, Storage, plan_stream
from ndx_simulation_output.engine.team import Team
from ndx_simulation_output.errors import NameClashError, ShapeMismatchError
from ndx_simulation_output.recording import CompartmentTable, StreamedReport
from ndx_simulation_output.recording.merging import join_tables

__all__ = ["Streamed", "plan_streamed"]


@dataclass(frozen=True)
class Streamed:
    """What is streamed: with the cells of all ranks on rank 0, else with those of the rank.

    ``starts`` has, for each report, the first column of each rank, and the number of columns.
    """

    reports: list[StreamedReport]
    layouts: list[Layout]
    starts: list[list[int]]


def plan_streamed(reports: Sequence[StreamedReport], storage: Storage, team: Team) -> Streamed:
    """Join what the ranks stream, and plan how it is laid out.

    Raises
    ------
    ShapeMismatchError
        If a report has no compartments, or ranks give different reports.
    NameClashError
        If two reports have the same name.
    LayoutError
        If data cannot be stored as asked.
    RankError
        If another rank fails.

    Example
    -------
    >>> table = CompartmentTable.from_counts(
    ...     "cortex", np.array([7, 3]), np.array([2, 1]), {"number": np.array([0, 1, 0])}
    ... )
    >>> plan_streamed([StreamedReport("v", table, rate=1e4)], Storage(), Team()).starts
    [[0, 3]]

    """
    counts = _counts(reports, team)
    starts = [[0, *np.cumsum(of_ranks).tolist()] for of_ranks in counts]
    tables = team.collect([_loaded(report.compartments) for report in reports])
    if tables:
        reports = [
            replace(report, compartments=join_tables([of_rank[number] for of_rank in tables]))
            for number, report in enumerate(reports)
        ]
    layouts = team.tell(_layouts(reports, counts, storage) if tables else None)
    return Streamed(list(reports), layouts, starts)


def _counts(reports: Sequence[StreamedReport], team: Team) -> list[list[int]]:
    """Count the compartments of each rank, for each report."""
    own = {
        report.name: (np.dtype(report.dtype).str, report.rate, report.start) for report in reports
    }
    if len(own) < len(reports):
        names = ", ".join(report.name for report in reports)
        msg = f"reports have the same name: {names}"
        raise NameClashError(msg)
    facts = team.agree((own, [report.compartments.n_compartments for report in reports]))
    for rank, (others, _) in enumerate(facts):
        if list(others.items()) != list(facts[0][0].items()):
            msg = f"rank {rank} streams {others}; expected the same as rank 0, {facts[0][0]}"
            raise ShapeMismatchError(msg)
    counts = [[of_rank[number] for _, of_rank in facts] for number in range(len(reports))]
    for report, of_ranks in zip(reports, counts, strict=True):
        if not sum(of_ranks):
            msg = f"report {report.name!r} has no compartments; expected at least one"
            raise ShapeMismatchError(msg)
    return counts


def _layouts(
    reports: Sequence[StreamedReport], counts: list[list[int]], storage: Storage
) -> list[Layout]:
    """Plan rows of chunks that fit into the memory of the rank with the most columns."""
    sizes = np.array([np.dtype(report.dtype).itemsize for report in reports], np.int64)
    widest = max((sizes @ np.array(counts, np.int64)).tolist(), default=0) if reports else 0
    layouts = _layouts_of_rows(reports, counts, storage, widest)
    if len(counts[0] if counts else []) > 1:
        # A rank may have to complete a chunk of each report.
        widest += sum(layout.itemsize * (layout.chunks or (1, 1))[1] for layout in layouts)
        layouts = _layouts_of_rows(reports, counts, storage, widest)
    return layouts


def _layouts_of_rows(
    reports: Sequence[StreamedReport], counts: list[list[int]], storage: Storage, row_bytes: int
) -> list[Layout]:
    """Plan chunks no wider than what a rank has, for rows of all reports of ``row_bytes``."""
    planned = [
        plan_stream(
            max(of_ranks),
            np.dtype(report.dtype).itemsize,
            report.compartments.counts(),
            storage,
            steps=report.steps,
            row_bytes=row_bytes,
        )
        for report, of_ranks in zip(reports, counts, strict=True)
    ]
    return [
        replace(layout, shape=(0, sum(of_ranks)))
        for layout, of_ranks in zip(planned, counts, strict=True)
    ]


def _loaded(table: CompartmentTable) -> CompartmentTable:
    """Give a table whose arrays can be sent."""
    return CompartmentTable(
        table.population,
        np.asarray(table.cell_ids[:]),
        np.asarray(table.ends[:]),
        {name: np.asarray(values[:]) for name, values in table.columns.items()},
        {name: np.asarray(values[:]) for name, values in table.cell_columns.items()},
    )
