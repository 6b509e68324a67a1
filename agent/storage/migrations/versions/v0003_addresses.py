"""Who is called, or must not be, may be a SIP address."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = ("attempts", "dials", "do_not_call")


def upgrade() -> None:
    _width(32, 128)


def downgrade() -> None:
    _width(128, 32)


def _width(now: int, then: int) -> None:
    for name in TABLES:
        with op.batch_alter_table(name) as table:  # SQLite makes the table anew
            table.alter_column(
                "number",
                existing_type=sa.String(now),
                type_=sa.String(then),
                existing_nullable=False,
            )
