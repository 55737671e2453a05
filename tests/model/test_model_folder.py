"""Models as folders in the Hugging Face manner, read back by its own library where it is installed."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model.card import ModelCard
from model.errors import CardError, WeightsError
from model.model_folder import locate_card, readme_of, write_model_folder
from tests import WEIGHTS

DEMO = WEIGHTS / "phantom-resnet18-single.json"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model_folder(DEMO, tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_holds_the_same_model_under_the_hubs_names(folder: Path) -> None:
    card, demo = ModelCard.load(folder / "config.json"), ModelCard.load(DEMO)
    assert replace(card, weights=demo.weights) == demo
    assert card.weights.file == "model.safetensors"
    assert card.weights.sha256 == demo.weights.sha256
    weights = (folder / "model.safetensors").read_bytes()
    assert weights == DEMO.with_name(demo.weights.file).read_bytes()
    assert locate_card(str(folder)) == folder / "config.json"


def test_the_hubs_library_reads_the_readme(folder: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(folder / "README.md")
    assert card.data.library_name == "darefine"
    assert card.data.pipeline_tag == "image-segmentation"
    assert card.data.metrics == ["mean_iou", "accuracy"]
    (miou, accuracy) = card.data.eval_results
    demo = ModelCard.load(DEMO)
    assert (miou.metric_type, miou.metric_value) == ("mean_iou", pytest.approx(demo.metrics["miou"]))
    assert (accuracy.dataset_name, accuracy.metric_value) == ("phantom", demo.metrics["accuracy"])
    assert "means nothing on tissue" in card.text
    assert "| 4 | invasive | `#0000ff` |" in card.text


def test_a_licence_and_the_data_it_was_trained_on_are_told() -> None:
    card = ModelCard.load(WEIGHTS / "tissue-ebhi-seg-resnet18-single.json")
    readme = readme_of(replace(card, licence="CC-BY-4.0"))
    assert 'license: "cc-by-4.0"' in readme
    assert "Licence: CC-BY-4.0" in readme
    assert "doi:10.6084/m9.figshare.21540159" in readme
    assert "phantom" not in readme.casefold()
    assert "license:" not in readme_of(card)


def test_what_is_no_model_is_none(tmp_path: Path) -> None:
    assert locate_card(str(tmp_path)) is None
    assert locate_card(str(tmp_path / "none.json")) is None
    assert locate_card(str(DEMO)) == DEMO


class Hub(BaseHTTPRequestHandler):
    """What the hub answers for the files of one repository, `lab/unet`, as its client asks."""

    folder: Path

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        asked = re.fullmatch(rf"/lab/unet/resolve/(?:main|v1|{COMMIT})/([^/]+)", self.path)
        if asked is None or not (path := self.folder / asked[1]).exists():
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound" if asked is None else "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{asked[1]}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"folder": folder}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


LOCATE = """
import sys
from model.errors import ModelError
from model.model_folder import locate_card
for name in sys.argv[1:]:
    try:
        print(locate_card(name))
    except ModelError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.slow
def test_a_name_on_the_hub_is_fetched_once(endpoint: str, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache")}

    def locate(*names: str) -> list[str]:
        command = [sys.executable, "-c", LOCATE, *names]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    card, at_tag, missing = locate("hf-hub:lab/unet", "hf-hub:lab/unet@v1", "hf-hub:lab/none")
    assert card == at_tag
    assert json.loads(Path(card).read_text()) == json.loads((folder / "config.json").read_text())
    assert Path(card).with_name("model.safetensors").read_bytes()[:8]
    assert missing.startswith("WeightsError cannot get config.json of lab/none from the hub (Repository")
    # Its server is gone: the cache will do.
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    assert locate("hf-hub:lab/unet")[0] == card


def test_a_repository_of_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "bert"}))
    monkeypatch.setattr("model.model_folder.hub_file", lambda repository, file: config)
    with pytest.raises(CardError, match=r"unknown key model_type|lacks name"):
        locate_card("hf-hub:someone/bert")


def test_without_the_hubs_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"darefine\[hub\]"):
        locate_card("hf-hub:lab/unet")
