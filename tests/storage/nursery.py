"""A process that has imported everything and forks a child per line of JSON that it reads: `[what, output file, ...]`.

Children that are killed in mid-write then cost milliseconds, not an import of SQLAlchemy each. It answers with the child's id,
and with its status once it is gone.
"""

import asyncio
import json
import os
import sys

import msgspec
from alembic import command  # noqa: F401  (imported before the forks)

from agent.storage.records import CallRecord, Records


async def write(url: str, first: int, base: str) -> None:
    """Acknowledge call after call, until killed."""
    records = await Records.open(url)
    record = msgspec.json.decode(base, type=CallRecord)
    while True:
        call = f"call-{first}"
        await records.create(msgspec.structs.replace(record, id=call, provider_call_id=call))
        await records.finish(call, "goodbye", 1.0, metrics={"n": first})
        print(first, flush=True)
        first += 1


async def spend(url: str, call: str, tokens: int) -> None:
    """Spend as many tokens as others leave."""
    records = await Records.open(url)
    won = [n for n in range(tokens) if await records.spend(f"token-{n}", call, 1.0)]
    print(*won, "done", flush=True)
    await records.close()


def main() -> None:
    for line in sys.stdin:
        what, output, *args = json.loads(line)
        if what == "wait":
            _, status = os.waitpid(int(output), 0)
            print(status, flush=True)
            continue
        child = os.fork()
        if not child:
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
            asyncio.run(write(*args) if what == "write" else spend(*args))
            os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main()
