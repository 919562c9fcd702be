"""Tables of commands."""

from __future__ import annotations

from moro_ros.cli.results import print_table


def test_a_row_may_lack_a_column(capsys) -> None:
    print_table([{"source": "floor", "root_m": 0.1}, {"source": "cameras", "pelvis_95": 0.95}])
    assert capsys.readouterr().out.splitlines() == [
        "| source | root_m | pelvis_95 |",
        "| --- | --- | --- |",
        "| floor | 0.1 |  |",
        "| cameras |  | 0.95 |",
    ]
