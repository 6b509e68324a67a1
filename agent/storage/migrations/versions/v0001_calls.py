"""Calls and spent tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("provider_call_id", sa.String(128)),
        sa.Column("instance", sa.String(64), nullable=False),
        sa.Column("alive_until", sa.Float, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("agent", sa.String(128), nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("answered_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("end_reason", sa.String(64)),
        sa.Column("from_number", sa.String(128)),
        sa.Column("to_number", sa.String(128)),
        sa.Column("number_hash", sa.String(64)),
        sa.Column("legs", sa.Integer, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.UniqueConstraint("provider", "provider_call_id", name="one_record_per_call"),
    )
    op.create_index("calls_started_at", "calls", ["started_at"])
    op.create_index("calls_alive_until", "calls", ["state", "alive_until"])
    op.create_table(
        "spent_tokens",
        sa.Column("token", sa.String(128), primary_key=True),
        sa.Column("call", sa.String(64), nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
    )
    op.create_index("spent_tokens_expires", "spent_tokens", ["expires"])


def downgrade() -> None:
    op.drop_table("spent_tokens")
    op.drop_table("calls")
