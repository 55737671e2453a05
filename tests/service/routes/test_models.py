"""The list of models."""

from ..conftest import CARD, Api


def test_models_are_the_published_cards(api: Api) -> None:
    assert api.http.get("/v1/models").json() == {"default": "stand-in", "models": [CARD]}
