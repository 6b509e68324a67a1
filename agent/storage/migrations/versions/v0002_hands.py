"""What the agent does: tool effects, messages, callbacks, outbound calls, numbers that must not be called."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "effects",
        sa.Column("call", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("tool", sa.String(128), nullable=False),
        sa.Column("begun_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
        sa.Column("response", sa.JSON),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("call", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(128), nullable=False),
        sa.Column("taken_at", sa.Float, nullable=False),
        sa.Column("from_number", sa.String(128)),
        sa.Column("name", sa.String(256)),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("urgent", sa.Boolean, nullable=False),
    )
    op.create_index("messages_taken_at", "messages", ["taken_at"])
    op.create_table(
        "callbacks",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("call", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(128), nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
        sa.Column("number", sa.String(128), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
    )
    op.create_index("callbacks_at", "callbacks", ["at"])
    op.create_table(
        "campaigns",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(128), nullable=False),
        sa.Column("rate", sa.Float, nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("next_at", sa.Float, nullable=False),
        sa.Column("begun_at", sa.Float, nullable=False),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("idempotency_key", sa.String(255), nullable=False, unique=True),
        sa.Column("number", sa.String(32), nullable=False),
        sa.Column("agent", sa.String(128), nullable=False),
        sa.Column("variables", sa.JSON, nullable=False),
        sa.Column("campaign", sa.String(64)),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("reserved_at", sa.Float, nullable=False),
        sa.Column("not_before", sa.Float, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(64)),
        sa.Column("provider_call_id", sa.String(128)),
        sa.Column("instance", sa.String(64)),
        sa.Column("alive_until", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
    )
    op.create_index("attempts_due", "attempts", ["state", "not_before"])
    op.create_index("attempts_campaign", "attempts", ["campaign", "row"])
    op.create_index("attempts_number", "attempts", ["number", "state"])
    op.create_table(
        "dials",
        sa.Column("attempt", sa.String(64), primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("number", sa.String(32), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("provider_call_id", sa.String(128), unique=True),
        sa.Column("reason", sa.String(64)),
        sa.Column("ended_at", sa.Float),
    )
    op.create_index("dials_at", "dials", ["at"])
    op.create_index("dials_number", "dials", ["number", "at"])
    op.create_table(
        "do_not_call",
        sa.Column("number", sa.String(32), primary_key=True),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("why", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(128)),
        sa.Column("call", sa.String(64)),
    )


def downgrade() -> None:
    op.drop_table("do_not_call")
    op.drop_table("dials")
    op.drop_table("attempts")
    op.drop_table("campaigns")
    op.drop_table("callbacks")
    op.drop_table("messages")
    op.drop_table("effects")
