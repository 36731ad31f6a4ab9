"""What Ray is told by the environment: the user's choice wins, and everything is put back."""

from __future__ import annotations

import os

import pytest
from ray._private import ray_constants

from cluster.ray_environment import LOOPBACK, loopback_only, token_environment, use_new_token, use_token_file

TOKEN_NAMES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in (*TOKEN_NAMES, *LOOPBACK):
        monkeypatch.delenv(name, raising=False)


def told() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name in (*TOKEN_NAMES, *LOOPBACK)}


def test_loopback_is_asked_for_inside_only():
    before = ray_constants.ENABLE_RAY_CLUSTER
    with loopback_only():
        assert told() == dict(LOOPBACK) and ray_constants.ENABLE_RAY_CLUSTER is False
        with loopback_only():
            assert told() == dict(LOOPBACK)
        assert told() == dict(LOOPBACK)
    assert told() == {} and before == ray_constants.ENABLE_RAY_CLUSTER


@pytest.mark.parametrize("chosen", ["0", "1"])
def test_who_chose_where_ray_listens_keeps_it(monkeypatch, chosen):
    (name,) = LOOPBACK
    monkeypatch.setenv(name, chosen)
    before = ray_constants.ENABLE_RAY_CLUSTER
    with loopback_only():
        assert told() == {name: chosen} and before == ray_constants.ENABLE_RAY_CLUSTER
    assert told() == {name: chosen}


def test_each_ray_gets_a_token_of_its_own_until_its_end():
    tokens = set()
    for _ in range(2):
        forget = use_new_token()
        assert os.environ["RAY_AUTH_MODE"] == "token"
        tokens.add(os.environ["RAY_AUTH_TOKEN"])
        forget()
        assert told() == {}
    assert len(tokens) == 2 and all(len(token) == 64 for token in tokens)


@pytest.mark.parametrize("name", TOKEN_NAMES)
def test_who_chose_how_ray_authenticates_keeps_it(monkeypatch, name):
    monkeypatch.setenv(name, "disabled")
    forget = use_new_token()
    assert told() == {name: "disabled"}
    forget()
    assert told() == {name: "disabled"}


def test_a_token_file_takes_the_place_of_another_token_for_a_while(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    forget = use_token_file("/somewhere/token")
    assert told() == {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/somewhere/token"}
    forget()
    assert told() == {"RAY_AUTH_TOKEN": "another"}
    assert "RAY_AUTH_TOKEN" not in token_environment("/somewhere/token")
