"""Who may ask the HTTP interface, and how often."""

from __future__ import annotations

import pytest

from coordinator.errors import SettingsError
from coordinator.web import WebSettings, create_app
from coordinator.web.tokens import SCOPES, new_token, read_tokens
from tests.waiting import wait_until


def test_api_lets_nobody_in_when_the_token_is_wrong(coordinator):
    """No token and a wrong one are 401; a missing scope is 403; health and schema need none."""
    reader = new_token("reader", ("read",))
    strict = create_app(coordinator, WebSettings(tokens=(reader[1],))).test_client()
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {reader[0]}"}):
        refused = strict.get("/jobs", headers=header)
        assert (refused.status_code, refused.content_type) == (401, "application/problem+json")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    known = {"Authorization": f"Bearer {reader[0]}"}
    assert strict.get("/jobs", headers=known).status_code == 200
    assert strict.post("/jobs", json={"kind": "sum_to"}, headers=known).status_code == 403
    assert strict.post("/jobs/x/cancel", headers=known).status_code == 403
    assert {strict.get(path).status_code for path in ("/healthz", "/readyz", "/openapi.json")} == {200}


def test_api_answers_this_machine_alone_when_opened_without_tokens(coordinator):
    """Another address, another name for this one, another site's page, or a proxy: all refused."""
    client = create_app(coordinator, WebSettings(is_open=True)).test_client()
    assert client.get("/jobs").status_code == 200
    for strange in (
        {"environ_base": {"REMOTE_ADDR": "192.0.2.1"}},
        {"headers": {"Host": "rebound.example"}},
        {"headers": {"Host": "[::1"}},
        {"headers": {"Host": ""}},
        {"headers": {"Origin": "http://["}},
        {"headers": {"Origin": "https://evil.example"}},
        {"headers": {"X-Forwarded-For": "192.0.2.1"}},
    ):
        assert client.get("/jobs", **strange).status_code == 403


def test_api_does_not_start_when_nobody_could_use_it():
    """There is no default token; every fault of the environment is told at once, and no secret."""
    with pytest.raises(SettingsError, match=r"manage\.py api-token"):
        WebSettings.from_env({})
    secret = new_token("x", SCOPES)[0]
    with pytest.raises(SettingsError, match=r"entry 1 .*COORDINATOR_API_RATE") as caught:
        WebSettings.from_env({"COORDINATOR_API_TOKENS": f"x:read:{secret}", "COORDINATOR_API_RATE": "much"})
    assert secret not in str(caught.value)
    assert read_tokens(new_token("x", ("steer", "read"))[1].entry)[0].scopes == {"read", "steer"}


def test_api_refuses_requests_when_a_token_asks_too_often(web):
    """The count of a minute is kept in Redis, so all processes share it."""
    one, other = web(rate_per_minute=3), web(rate_per_minute=3)
    answers = wait_until(  # again, should a new minute begin in between
        lambda: (found := [c.get("/kinds") for c in (one, other, one, other)])[3].status_code == 429 and found
    )
    assert [answer.status_code for answer in answers][:3] in ([200] * 3, [429] * 3)
    assert 0 < int(answers[3].headers["Retry-After"]) <= 60
