"""Slides registered in place stay inside the allow-listed folders, whatever links say."""

import shutil
from pathlib import Path

import pytest

from service.errors import RootNotAllowedError
from service.slides.roots import require_inside

from ..conftest import Api, assert_problem, write_slide


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the allow-listed one, with a slide in it."""
    folder = tmp_path / "secret"
    folder.mkdir()
    write_slide(folder / "secret.tif", seed=91)
    return folder


@pytest.fixture
def folder(api: Api, tmp_path: Path) -> Path:
    """An empty folder where slides may be registered."""
    folder = api.slide_root / tmp_path.name
    folder.mkdir()
    return folder


def register(api: Api, path: Path):
    return api.http.post("/v1/slides", json={"uri": str(path)})


def test_a_link_to_a_slide_elsewhere_is_refused(api: Api, folder: Path, outside: Path) -> None:
    (folder / "link.tif").symlink_to(outside / "secret.tif")
    assert_problem(register(api, folder / "link.tif"), 403, "root-not-allowed")


def test_a_link_inside_a_folder_is_refused_and_named(api: Api, folder: Path, outside: Path) -> None:
    (folder / "inner.tif").symlink_to(outside / "secret.tif")
    detail = assert_problem(register(api, folder), 403, "root-not-allowed")
    assert detail.startswith("inner.tif of ")
    assert "secret" not in detail, "where it leads is nobody's business"


def test_links_that_stay_inside_are_followed(api: Api, folder: Path) -> None:
    kept = write_slide(api.slide_root / "linked-to.tif", seed=92)
    (folder / "inner.tif").symlink_to(kept)
    assert register(api, folder).status_code == 201
    (folder / "other.tif").symlink_to(kept)
    assert register(api, folder / "other.tif").json()["name"] == "linked-to.tif"


def test_a_circle_of_links_ends(api: Api, folder: Path) -> None:
    write_slide(folder / "slide.tif", seed=93)
    (folder / "again").symlink_to(folder)
    assert register(api, folder).status_code == 201
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    assert_problem(register(api, folder / "a"), 422, "slide-unreadable")


@pytest.mark.parametrize("deep", [False, True])
def test_the_data_of_a_mirax_file_belong_to_it(tmp_path: Path, outside: Path, *, deep: bool) -> None:
    root = tmp_path / "nas"
    root.mkdir()
    slide = root / "case.mrxs"
    slide.write_bytes(b"x")
    require_inside(slide, (root,))
    if deep:
        (root / "case").mkdir()
        (root / "case" / "Data0000.dat").symlink_to(outside / "secret.tif")
    else:
        (root / "case").symlink_to(outside)
    with pytest.raises(RootNotAllowedError, match=r"of case\.mrxs is a link that leads outside"):
        require_inside(slide, (root,))


def test_a_dicom_file_is_read_with_its_neighbours(real_slides: Path, tmp_path: Path, outside: Path) -> None:
    root = tmp_path / "nas"
    shutil.copytree(real_slides / "slides" / "cytomine_dicom_wsi", root)
    plain = write_slide(root / "plain.tif", seed=94)
    (root / "more.dcm").symlink_to(outside / "secret.tif")
    require_inside(plain, (root,))
    first = min(root.glob("1.*.dcm")).rename(root / "no-suffix")
    with pytest.raises(RootNotAllowedError, match=r"more\.dcm of no-suffix"):
        require_inside(first, (root,))


def test_a_link_that_changes_after_registration_shows_nothing(api: Api, folder: Path, outside: Path) -> None:
    slide = write_slide(folder / "shown.tif", seed=96)
    links = register(api, slide).json()["links"]
    slide.unlink()
    slide.symlink_to(outside / "secret.tif")
    for url in (links["thumbnail"], f"{links['tiles']}/0/0_0.jpeg"):
        assert_problem(api.http.get(url), 502, "tile-unreadable")


def test_a_link_that_changes_after_registration_is_refused_to_jobs(
    api: Api, folder: Path, outside: Path
) -> None:
    slide = write_slide(folder / "slide.tif", seed=95)
    registered = register(api, slide).json()
    assert api.http.post("/v1/jobs", json={"slide_id": registered["id"]}).status_code == 202
    slide.unlink()
    slide.symlink_to(outside / "secret.tif")
    assert_problem(api.http.post("/v1/jobs", json={"slide_id": registered["id"]}), 403, "root-not-allowed")
