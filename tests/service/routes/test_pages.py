"""Pages and the files they load: headers, caching, compression."""

import re

import pytest

from ..conftest import Api, assert_problem

PAGES = ["/", "/docs", "/jobs/any/report"]


def loaded_by(api: Api, page: str) -> list[str]:
    """Addresses of scripts and styles of a page."""
    return re.findall(r'(?:src|href)="(/assets/[^"]+)"', api.http.get(page).text)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_allows_scripts_of_this_host_only_and_none_inline(api: Api, page: str) -> None:
    response = api.http.get(page)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=|https?://", response.text)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_asked_for_again_and_its_files_are_kept(api: Api, page: str) -> None:
    first = api.http.get(page)
    assert first.headers["cache-control"] == "no-cache"
    again = api.http.get(page, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    own = [address for address in loaded_by(api, page) if "/vendor/" not in address]
    assert len(own) >= 2
    for address in own:
        file = api.http.get(address)
        assert file.status_code == 200, address
        assert "immutable" in file.headers["cache-control"]
        assert file.headers["content-encoding"] == "gzip"


def test_a_page_opened_before_an_update_gets_the_present_file_but_does_not_keep_it(api: Api) -> None:
    now = next(address for address in loaded_by(api, "/") if address.endswith("main.js"))
    old = api.http.get(re.sub(r"/assets/\w+/", "/assets/0123456789abcdef/", now))
    assert old.text == api.http.get(now).text
    assert old.headers["cache-control"] == "no-cache"


def test_a_client_without_gzip_gets_plain_bytes(api: Api) -> None:
    address = loaded_by(api, "/")[0]
    plain = api.http.get(address, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == api.http.get(address).content
    assert plain.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("path", ["js/none.js", "%2e%2e/app.py", "package.json", "index.html"])
def test_what_the_page_has_not_is_a_problem(api: Api, path: str) -> None:
    version = loaded_by(api, "/")[0].split("/")[2]
    assert_problem(api.http.get(f"/assets/{version}/{path}"), 404, "page-not-found")


def test_the_head_of_a_page(api: Api) -> None:
    head = api.http.head("/")
    assert (head.status_code, head.content) == (200, b"")
