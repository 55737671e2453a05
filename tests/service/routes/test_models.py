"""The model cards, listed and one by one."""

import json

from ..conftest import CARD, Api, assert_problem

LINKS = {"self": "/v1/models/stand-in", "jobs": "/v1/jobs?model=stand-in"}


def test_models_are_the_published_cards(api: Api) -> None:
    assert api.http.get("/v1/models").json() == {"default": "stand-in", "models": [{**CARD, "links": LINKS}]}
    assert api.http.get("/v1/models/stand-in").json() == {**CARD, "links": LINKS}


def test_only_a_card_of_its_own_shows_the_curve_of_its_losses(api: Api) -> None:
    trained = {**CARD, "name": "trained, here", "training": {"seed": 1, "curve": [[0, 1.5], [10, 0.4]]}}
    api.registry.publish_models("stand-in", (json.dumps(CARD), json.dumps(trained)))
    try:
        listed = api.http.get("/v1/models").json()["models"][1]
        assert listed["training"] == {"seed": 1}
        shown = api.http.get(listed["links"]["self"]).json()
        assert shown["training"] == trained["training"]
        assert api.http.get(shown["links"]["jobs"]).json()["jobs"] == []
    finally:
        api.registry.publish_models("stand-in", (json.dumps(CARD),))


def test_unknown_model(api: Api) -> None:
    assert_problem(api.http.get("/v1/models/other"), 404, "model-not-found")
