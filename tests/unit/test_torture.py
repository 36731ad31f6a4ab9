"""The campaigns' own machinery: what fails is never a pass or a skip, and planted bugs are really in the code."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.regressions import seeds
from tests.support.checkout import REPOSITORY
from tests.support.power_cut import NotPossible
from tests.torture import __main__ as torture
from tests.torture import report, rounds
from tests.torture.figures import FIGURES, Figure
from tests.torture.planted.bug import Bug
from tests.torture.planted.bugs import BUGS
from tests.torture.planted.run import planted
from tests.torture.rounds import FAILED, MISSING, PASSED, SKIPPED, run


def good(seed: int) -> dict[str, int]:
    return {"cuts": 10, "kills": 1}


def bad_at_7(seed: int) -> dict[str, int]:
    assert seed != 7, "lost: [3]"
    return good(seed)


def impossible(seed: int) -> dict[str, int]:
    raise NotPossible("needs root")


def test_rounds_go_on_until_the_time_is_up_and_are_added() -> None:
    assert run(Figure("T0", "nothing", good), 1, 0.0).rounds == 1
    many = run(Figure("T0", "nothing", good), 1, 0.05)
    assert many.rounds > 1 and many.counts == {"cuts": 10 * many.rounds, "kills": many.rounds}


@pytest.mark.parametrize(
    ("campaign", "state", "reason"),
    [(good, PASSED, ""), (impossible, SKIPPED, "needs root"), (None, MISSING, "not built")],
)
def test_what_was_not_run_has_not_passed(campaign, state: str, reason: str) -> None:
    result = run(Figure("T0", "nothing", campaign, missing="not built"), 1, 0.0)
    assert (result.state, result.reason if state != PASSED else "") == (state, reason)


def test_a_failure_names_its_seed_and_what_was_good_before() -> None:
    result = run(Figure("T0", "nothing", bad_at_7), 5, 60.0)
    assert (result.state, result.wrong_seed, result.rounds) == (FAILED, 7, 2)
    assert "lost: [3]" in result.reason


def test_a_round_that_hangs_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "ROUND_S_MAX", 1)
    result = run(Figure("T0", "nothing", lambda seed: time.sleep(30) or {}), 1, 0.0)
    assert result.state == FAILED and "longer than 1 s" in result.reason


def test_the_table_tells_what_passed_failed_was_skipped_and_is_missing() -> None:
    figures = [
        Figure("T0 good", "cuts", good, ends="small"),
        Figure("T0 bad", "cuts", bad_at_7),
        Figure("T1", "mounts", impossible),
        Figure("T2", "merges", missing="not built"),
    ]
    page = report.table([run(figure, 7, 0.0) for figure in figures], 7, 1.0, 90.0)
    assert "1 passed, 1 failed, 1 skipped, 1 not run" in page
    assert "| T0 good | cuts | 10 cuts, 1 kills | 0 | 1 | 0 | small |" in page
    assert "| T0 bad | cuts |  | **seed 7: AssertionError: lost: [3]" in page
    assert "## Skipped on this machine\n\n- T1, mounts: needs root\n" in page
    assert page.endswith("## Not run: no campaign\n\n- T2, merges: not built\n")
    assert str(REPOSITORY) not in page


def test_a_wrong_figure_ends_with_1_and_its_seed_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "seeds.json"
    path.write_text("[]")
    keep = seeds.keep
    monkeypatch.setattr(seeds, "keep", lambda *what: keep(*what, path))
    monkeypatch.setattr(torture, "FIGURES", (Figure("T0", "cuts", bad_at_7), Figure("T1", "cuts", good)))
    assert torture.main(0.0001, 6, {"T1"}) == 0
    for _ in range(2):
        assert torture.main(0.0001, 7, {"T0"}) == 1
    (kept,) = seeds.kept(path)
    assert (kept.figure, kept.seed) == ("T0", 7) and "lost: [3]" in kept.found
    assert '"T0" 7' in capsys.readouterr().out


def test_a_figure_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert torture.main(1.0, 1, {"T99"}) == 2
    assert "no such figure: T99; there are T1, T2" in capsys.readouterr().out


def test_figures_have_names_of_their_own_and_a_campaign_or_a_reason() -> None:
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    assert all((figure.campaign is None) == bool(figure.missing) for figure in FIGURES)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_in_the_code(bug: Bug) -> None:
    source = (REPOSITORY / bug.file).read_text(encoding="utf-8")
    assert planted(source, bug) != source


def test_a_bug_whose_text_is_not_there_once_is_an_error() -> None:
    bug = Bug("gone", "a.py", "x = 1\n", "", "tests")
    for source in ("", "x = 1\nx = 1\n"):
        with pytest.raises(LookupError, match="write it anew"):
            planted(source, bug)
    with pytest.raises(SyntaxError):
        planted("if y:\n    x = 1\n", bug)
