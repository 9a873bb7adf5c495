"""The portable ways do the same as the fast ones, and names of files are for all systems."""

import errno
import ntpath
import os
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ndx_simulation_output import system
from ndx_simulation_output.system import allocate, open_file, portable_names, read_at, write_at
from tests.conftest import ROOT


@pytest.fixture
def opened(tmp_path):
    number = open_file(tmp_path / "data", os.O_RDWR | os.O_CREAT)
    yield number
    os.close(number)


def test_without_positioned_calls_the_same_is_written_and_the_position_stays(opened, monkeypatch):
    monkeypatch.delattr(os, "pwrite", raising=False)
    monkeypatch.delattr(os, "preadv", raising=False)
    os.write(opened, b"0123456789")
    os.lseek(opened, 4, os.SEEK_SET)
    found = bytearray(12)

    write_at(opened, b"ab\r\n", 7)

    assert read_at(opened, found, 2) == 9
    assert bytes(found) == b"23456ab\r\n\0\0\0"
    assert os.lseek(opened, 0, os.SEEK_CUR) == 4


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="this system has no positioned calls")
def test_no_call_is_larger_than_macos_allows(opened, monkeypatch):
    pwrite, preadv = os.pwrite, os.preadv

    def refuse_large(call):
        def limited(number, data, offset):
            if sum(map(len, data)) if isinstance(data, list) else len(data) > 1000:
                raise OSError(errno.EINVAL, "Invalid argument")
            return call(number, data, offset)

        return limited

    monkeypatch.setattr(os, "pwrite", refuse_large(pwrite))
    monkeypatch.setattr(os, "preadv", lambda number, data, at: preadv(number, [data[0][:7]], at))
    monkeypatch.setattr(system, "_MOST_BYTES", 1000)
    data, found = os.urandom(2500), bytearray(2500)

    write_at(opened, data, 10)

    assert read_at(opened, found, 10) == 2500
    assert found == data


@pytest.mark.parametrize("missing", [True, False])
def test_space_is_allocated_without_posix_fallocate(missing, opened, monkeypatch):
    def fallocate(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", fallocate, raising=False)
    if missing:
        monkeypatch.delattr(os, "posix_fallocate")

    allocate(opened, 2**20 + 3)

    assert os.fstat(opened).st_size == 2**20 + 3
    if hasattr(os.stat_result, "st_blocks"):
        assert os.fstat(opened).st_blocks * 512 >= 2**20


def test_files_are_opened_without_translation_of_line_ends(tmp_path, monkeypatch):
    flags = []
    monkeypatch.setattr(os, "O_BINARY", 0x8000, raising=False)
    opened = os.open(tmp_path / "data", os.O_RDWR | os.O_CREAT)
    monkeypatch.setattr(os, "open", lambda _, flag, __: flags.append(flag) or opened)

    os.close(open_file(tmp_path / "data", os.O_RDWR))

    assert flags == [os.O_RDWR | 0x8000 | getattr(os, "O_NONBLOCK", 0)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["v.h5", "w.h5"], ["v.h5", "w.h5"]),
        (["V.h5", "v.h5", "v_2.h5"], ["V.h5", "v_3.h5", "v_2.h5"]),
        (["a:b.h5", "a_b.h5", 'a"b.h5'], ["a_b_2.h5", "a_b.h5", "a_b_3.h5"]),
        (["a?*|<>\\.h5", "a\n.h5"], ["a______.h5", "a_.h5"]),
        (
            ["CON.h5", "nul", "com1.x.h5", "lpt9 .h5", "COM¹.h5"],
            ["_CON.h5", "_nul", "_com1.x.h5", "_lpt9 .h5", "_COM¹.h5"],
        ),
        (["console.h5", "com10.h5", ".h5"], ["console.h5", "com10.h5", ".h5"]),
        (["v.", "v ", "v"], ["v_", "v__2", "v"]),
        (["é.h5", "e\u0301.h5", "É.h5"], ["é.h5", "e\u0301_2.h5", "É_3.h5"]),
        (["straße.h5", "STRASSE.h5"], ["straße.h5", "STRASSE_2.h5"]),
    ],
)
def test_names_are_for_all_systems(wanted, expected):
    found = portable_names(wanted)

    assert [found[name] for name in wanted] == expected


def test_the_workflow_for_other_systems_runs_the_commands_of_the_readme():
    workflow = ROOT / ".github" / "workflows" / "systems.yml"
    if not workflow.exists():
        pytest.skip("this is not a checkout of the repository")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    steps = YAML(typ="safe").load(workflow)["jobs"]["test"]["steps"]

    commands = [step["run"] for step in steps if "run" in step]
    assert commands == re.findall(r"```\n(pip .*)\n```", readme)


NAMES = st.text(st.sampled_from(string.printable + "éÉß\u0301"), min_size=1, max_size=9)


@given(st.lists(NAMES, max_size=9))
def test_portable_names_differ_without_case_and_stay(wanted):
    found = portable_names(wanted)

    assert set(found) == set(wanted)
    assert len({name.casefold() for name in found.values()}) == len(found)
    assert portable_names(found.values()) == {name: name for name in found.values()}
    for name in found.values():
        assert ntpath.basename(name) == name
        assert not set(name) & set('<>:"|?*')
        assert name[-1] not in ". "
