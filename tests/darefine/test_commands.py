"""The command group and what does not need a service."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import openslide
import pytest
from click.testing import CliRunner
from PIL import Image

from darefine.cli.doctor import check_disk
from darefine.cli.main import COMMANDS, main
from darefine.cli.picture import MARGIN_PX, PANEL_PX, TITLE_PX, overlay_panel, side_by_side, slide_panel
from service.errors import StorageFullError
from service.slides.disk import DISK_RESERVE, require_space, too_little
from wsi.phantom import PHANTOM_PALETTE


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    answer = CliRunner().invoke(main, [name, "--help"])
    assert answer.exit_code == 0, answer.output
    assert answer.output.startswith(f"Usage: main {name}")


def test_unknown_command_is_refused() -> None:
    answer = CliRunner().invoke(main, ["segment"])
    assert answer.exit_code == 2
    assert "No such command 'segment'" in answer.output


def test_the_list_of_commands_is_complete() -> None:
    answer = CliRunner().invoke(main, ["--help"])
    assert answer.exit_code == 0
    listed = answer.output.split("Commands:")[1].splitlines()
    assert [line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "] == list(COMMANDS)


@pytest.mark.parametrize(
    "module",
    [
        "darefine.cli.main",
        "darefine.cli.submit",
        "darefine.cli.run",
        "darefine.cli.jobs",
        "darefine.cli.slides",
        "darefine.cli.serve",
        "darefine.cli.worker",
        "darefine.cli.keys",
    ],
)
def test_light_commands_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_phantom_and_picture(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ["phantom", str(tmp_path / "p.tif"), "--size", "2048", "--seed", "3"])
    assert answer.exit_code == 0, answer.output
    with openslide.OpenSlide(tmp_path / "p.tif") as slide:
        assert slide.dimensions == (2048, 2048)
    panels = (
        ("slide", slide_panel(tmp_path / "p.tif")),
        ("truth", overlay_panel(tmp_path / "p-truth-overlay.tif")),
    )
    side_by_side(panels, PHANTOM_PALETTE, "caption", tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        classes = {entry.colour for entry in PHANTOM_PALETTE.classes}
        truth_colours = {colour for _, colour in panels[1][1].getcolors() or []}
        assert truth_colours <= {(255, 255, 255), *classes}
        assert truth_colours & classes, "tissue has a class"
        assert classes <= {colour for _, colour in sheet.getcolors(1 << 20) or []}, (
            "the legend has every class"
        )
        for number, (_, image) in enumerate(panels):
            left, top = MARGIN_PX + number * (PANEL_PX + MARGIN_PX), TITLE_PX
            place = (left, top, left + image.width, top + image.height)
            inner = (1, 1, image.width - 1, image.height - 1)
            assert sheet.crop(place).crop(inner).tobytes() == image.crop(inner).tobytes()


def test_doctor_finds_nothing_wrong_with_a_sound_installation(tmp_path: Path) -> None:
    environment = {"DAREFINE_DATA_DIR": str(tmp_path / "new"), "DAREFINE_DEVICE": "cpu", "COLUMNS": "200"}
    answer = CliRunner().invoke(main, ["doctor"], env=environment)
    assert answer.exit_code == 0, answer.output
    assert "fail" not in answer.output
    for told in ("embedded: ", "phantom-resnet18-centred on cpu", "GB free under"):
        assert told in answer.output


def test_doctor_names_a_queue_that_does_not_answer_but_not_its_password(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"redis://:secret@127.0.0.1:{port}/0"
    environment = {"DAREFINE_DATA_DIR": str(tmp_path), "REDIS_URL": url, "COLUMNS": "200"}
    answer = CliRunner().invoke(main, ["doctor"], env=environment)
    assert answer.exit_code == 1
    assert f"127.0.0.1:{port}" in answer.output
    assert "does not answer" in answer.output
    assert "secret" not in answer.output


def test_doctor_reports_missing_weights_and_fails(tmp_path: Path) -> None:
    environment = {"DAREFINE_WEIGHTS_DIR": str(tmp_path), "DAREFINE_DATA_DIR": str(tmp_path)}
    answer = CliRunner().invoke(main, ["doctor"], env=environment)
    assert answer.exit_code == 1
    assert "DAREFINE_WEIGHTS_DIR" in answer.output.replace("\n", "").replace(" ", "")


def test_doctor_fails_on_a_disk_that_takes_no_uploads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=DISK_RESERVE))
    with pytest.raises(StorageFullError):
        require_space(tmp_path, 1)
    assert check_disk(tmp_path / "new") == ("fail", f"{tmp_path} takes no uploads: {too_little(tmp_path)}")


def test_a_taken_port_is_told_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = CliRunner().invoke(main, ["serve", "--port", port], env={"DAREFINE_DATA_DIR": str(tmp_path)})
    assert answer.exit_code == 1
    assert port in answer.output
    assert "--port" in answer.output
