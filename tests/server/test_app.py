"""The building: what all its parts are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.config.agent_files import AgentFiles
from agent.config.settings import Settings
from agent.server.app import Building

if TYPE_CHECKING:
    from pathlib import Path


def test_a_named_secret_is_hidden_before_anybody_has_it(tmp_path: Path) -> None:
    hidden: list[str] = []
    building = Building(
        Settings.load({"CRM_TOKEN": "of-the-crm"}),
        AgentFiles(tmp_path, print),
        auth_token="t",
        public_url="https://example.com",
        hide=hidden.append,
    )
    assert hidden == []
    found = building._secret("CRM_TOKEN")
    assert found is not None and hidden == [found.get_secret_value()] == ["of-the-crm"]
    assert building._secret("NOT_SET") is None
