"""The command ``ndx-sim check``."""

import sys
from pathlib import Path

import click

from ndx_simulation_output.cli.options import LOCAL_PATH, TRUST_OPTION, Command, add_options
from ndx_simulation_output.cli.output import print_line, progress_bar


@click.command(cls=Command)
@click.argument("file", type=LOCAL_PATH)
@add_options(TRUST_OPTION)
def check(file: Path, *, trust: bool) -> None:
    """Check an NWB file for errors.

    FILE is checked against its schema, the rules of this package, and nwbinspector. The exit
    status is 1 if there are errors. Warnings and notes do not change it.

    \b
    Example:
      ndx-sim check run.nwb
    """
    from ndx_simulation_output.nwb.checks import check_file

    with progress_bar(f"checking {file.name}"):
        findings = check_file(file, trust=trust)
    for finding in findings:
        where = f"{finding.where}: " if finding.where else ""
        print_line(f"{finding.severity}: {where}{finding.message} ({finding.rule})")
    errors = sum(finding.severity == "error" for finding in findings)
    print_line(f"{file}: {errors or 'no'} error{'' if errors == 1 else 's'}")
    sys.exit(1 if errors else 0)
