"""The tables, as SQLAlchemy Core sees them; `migrations/` makes them. Times are seconds since 1970-01-01 UTC."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

calls = sa.Table(
    "calls",
    metadata,
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
    sa.Index("calls_started_at", "started_at"),
    sa.Index("calls_alive_until", "state", "alive_until"),
)

spent_tokens = sa.Table(
    "spent_tokens",
    metadata,
    sa.Column("token", sa.String(128), primary_key=True),
    sa.Column("call", sa.String(64), nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
    sa.Index("spent_tokens_expires", "expires"),
)

effects = sa.Table(
    "effects",
    metadata,
    sa.Column("call", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("tool", sa.String(128), nullable=False),
    sa.Column("begun_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float),
    sa.Column("response", sa.JSON),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("call", sa.String(64), nullable=False),
    sa.Column("agent", sa.String(128), nullable=False),
    sa.Column("taken_at", sa.Float, nullable=False),
    sa.Column("from_number", sa.String(128)),
    sa.Column("name", sa.String(256)),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("urgent", sa.Boolean, nullable=False),
    sa.Index("messages_taken_at", "taken_at"),
)

callbacks = sa.Table(
    "callbacks",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("call", sa.String(64), nullable=False),
    sa.Column("agent", sa.String(128), nullable=False),
    sa.Column("made_at", sa.Float, nullable=False),
    sa.Column("number", sa.String(128), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Index("callbacks_at", "at"),
)

campaigns = sa.Table(
    "campaigns",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("agent", sa.String(128), nullable=False),
    sa.Column("rate", sa.Float, nullable=False),
    sa.Column("concurrency", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("next_at", sa.Float, nullable=False),
    sa.Column("begun_at", sa.Float, nullable=False),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("idempotency_key", sa.String(255), nullable=False, unique=True),
    sa.Column("number", sa.String(128), nullable=False),
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
    sa.Index("attempts_due", "state", "not_before"),
    sa.Index("attempts_campaign", "campaign", "row"),
    sa.Index("attempts_number", "number", "state"),
)

dials = sa.Table(
    "dials",
    metadata,
    sa.Column("attempt", sa.String(64), primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("number", sa.String(128), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("provider_call_id", sa.String(128), unique=True),
    sa.Column("reason", sa.String(64)),
    sa.Column("ended_at", sa.Float),
    sa.Index("dials_at", "at"),
    sa.Index("dials_number", "number", "at"),
)

do_not_call = sa.Table(
    "do_not_call",
    metadata,
    sa.Column("number", sa.String(128), primary_key=True),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("why", sa.String(64), nullable=False),
    sa.Column("agent", sa.String(128)),
    sa.Column("call", sa.String(64)),
)
