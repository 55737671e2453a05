"""The page of settings is complete, and the command shows no secrets."""

from click.testing import CliRunner

from darefine.cli.environment import known_variables
from darefine.cli.main import main
from darefine.cli.settings import all_settings, page
from tests import ROOT


def test_the_page_is_what_the_classes_say() -> None:
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == page(), "run `darefine settings --markdown > docs/settings.md`"


def test_every_variable_is_listed_once_with_its_meaning() -> None:
    found = [one.variable for one in all_settings()]
    assert sorted(found) == sorted(known_variables())
    assert [one.variable for one in all_settings() if len(one.meaning) < 20] == []


def test_values_are_shown_but_no_secrets() -> None:
    env = {
        "DAREFINE_REDIS_URL": "redis://ann:hidden@lab/0",
        "DAREFINE_KEY": "darefine_hidden",
        "DAREFINE_WORKERS": "3",
        "COLUMNS": "300",
    }
    shown = CliRunner().invoke(main, ["settings"], env=env).output
    assert "hidden" not in shown
    for told in ("redis://ann:***@lab/0", "DAREFINE_WORKERS", "Worker processes"):
        assert told in shown
