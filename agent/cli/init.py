"""`pickup init`: an agents folder and `.env.example` to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.errors import UserError

app = typer.Typer()


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write them.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write an agents folder and .env.example to start from."""
    from agent.config.agent_files import EXAMPLES
    from agent.config.agent_schema import SCENARIO_SCHEMA, SCHEMA, with_schema
    from agent.config.settings import env_example

    examples = [path for path in sorted(EXAMPLES.iterdir()) if path.suffix in (".yaml", ".py")]
    files = {folder / "agents" / path.name: path.read_text() for path in examples}
    files = {
        path: with_schema(text, SCHEMA.name) if path.suffix == ".yaml" else text
        for path, text in files.items()
    }
    for path in sorted((EXAMPLES / "scenarios").glob("*.yaml")):
        text = with_schema(path.read_text(), f"../{SCENARIO_SCHEMA.name}")
        files[folder / "agents" / "scenarios" / path.name] = text
    for schema in (SCHEMA, SCENARIO_SCHEMA):
        files[folder / "agents" / schema.name] = schema.read_text()
    files[folder / ".env.example"] = env_example()
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise UserError(f"{' and '.join(there)} would be overwritten: use --force to do so")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    except OSError as error:
        raise UserError(f"cannot write: {error}") from None
    for path in files:
        print(f"wrote {path}")
    print("Next: change the agent, copy .env.example to .env and fill it in, then: pickup serve")
