"""The `tools` of an agent's file: built-in ones by name, Python functions, HTTP endpoints, MCP servers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from agent.config.shapes import Json, OneOrMore, Part, Secret, Shape, ToolName

BuiltIn = Literal[
    "end_call",
    "transfer_call",
    "send_digits",
    "collect_digits",
    "hold",
    "take_message",
    "schedule_callback",
    "look_up",
    "opt_out",
]
"""Tools that come with Pickup."""

Headers = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$"), Shape("a header's name")],
        Annotated[
            str, Field(pattern=r"^[\x20-\x7e]{0,1000}$"), Shape("one line of plain characters")
        ],
    ],
    Shape("headers with their values; secrets belong under `auth` or `secret`"),
]
ToolSeconds = Annotated[
    float, Field(gt=0, le=120, allow_inf_nan=False), Shape("a number of seconds, at most 120")
]
Description = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000),
    Shape("when to use it and what it does, for the model"),
]


class Auth(Part):
    """How an HTTP tool proves who calls: by a secret that the environment holds."""

    secret: Secret
    scheme: Annotated[
        Literal["bearer", "basic", "header"],
        Shape("bearer, basic (the secret is user:password) or header (the secret is its value)"),
    ] = "bearer"
    header: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9-]{1,64}$"),
        Shape("the header's name where the scheme is header"),
    ] = "X-Api-Key"


class HttpTool(Part):
    """An HTTP endpoint that the model may call.

    `{argument}` in the URL is filled in, percent-encoded; the other arguments go into the query (GET, DELETE) or into the body.
    """

    name: ToolName
    description: Description
    method: Annotated[
        Literal["GET", "POST", "PUT", "PATCH", "DELETE"], Shape("GET, POST, PUT, PATCH or DELETE")
    ] = "GET"
    url: Annotated[
        str,
        Field(pattern=r"^https?://[^\s{}/?#@]+([/?#][^\s]*)?$", max_length=2_000),
        Shape(
            "an http or https URL whose host is fixed, such as https://crm.example.com/orders/{id}"
        ),
    ]
    headers: Headers = {}
    parameters: Annotated[Json, Shape("its arguments as a JSON Schema of type object")] = {}
    auth: Annotated[Auth | None, Shape("`secret` and `scheme`")] = None
    body: Annotated[Literal["json", "form"], Shape("json or form")] = "json"
    timeout: ToolSeconds = 10.0
    retries: Annotated[int, Field(ge=0, le=5), Shape("a whole number from 0 to 5")] = 0
    idempotent: Annotated[
        bool | None,
        Shape("true where the same request again does nothing more; unset, its method says so"),
    ] = None
    reads_only: Annotated[
        bool | None, Shape("true where it changes nothing; unset, its method says so")
    ] = None
    allow_private: Annotated[
        bool, Shape("true to let it reach addresses of this machine and its network")
    ] = False


class McpTool(Part):
    """An MCP server: a command that is started, or a URL; its tools are the model's."""

    name: ToolName
    command: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=1_000)], ...] | None,
        Shape("the program and its arguments as a list"),
    ] = None
    url: Annotated[
        str | None,
        Field(pattern=r"^https?://[^\s{}/?#@]+([/?#][^\s]*)?$", max_length=2_000),
        Shape("the server's http or https URL"),
    ] = None
    headers: Headers = {}
    secret: Annotated[
        Secret | None,
        Shape("the name of the environment variable that holds the URL's bearer token"),
    ] = None
    environment: Annotated[
        tuple[Secret, ...],
        OneOrMore,
        Shape("names of environment variables that the command is given"),
    ] = ()
    allow: Annotated[
        tuple[str, ...] | None, Shape("the names of the tools that the model may use; unset, all")
    ] = None
    timeout: ToolSeconds = 10.0


class ToolEntry(Part):
    """One item of `tools`: exactly one of the four is set."""

    builtin: Annotated[
        BuiltIn | None,
        Shape("a built-in tool's name, or a mapping with the one key python, http or mcp"),
    ] = None
    python: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?$", max_length=200),
        Shape("module or module:function; modules beside the agents' files are found first"),
    ] = None
    http: Annotated[HttpTool | None, Shape("`name`, `description`, `method`, `url` and more")] = (
        None
    )
    mcp: Annotated[McpTool | None, Shape("`name`, `command` or `url`, and more")] = None

    def secrets(self) -> tuple[str, ...]:
        """The environment variables that it needs."""
        found: list[str] = []
        if self.http is not None and self.http.auth is not None:
            found.append(self.http.auth.secret)
        if self.mcp is not None:
            found += [*([self.mcp.secret] if self.mcp.secret else []), *self.mcp.environment]
        return tuple(found)

    @model_validator(mode="after")
    def _one(self) -> ToolEntry:
        if len(self.model_fields_set) != 1 or not any(
            (self.builtin, self.python, self.http, self.mcp)
        ):
            raise PydanticCustomError(
                "told", "should be a built-in tool's name or one of python, http and mcp"
            )
        return self


def _entry(value: object) -> object:
    """A name alone is a built-in tool."""
    return {"builtin": str(value)} if isinstance(value, str) else value


Tool = Annotated[
    ToolEntry,
    BeforeValidator(_entry, json_schema_input_type=BuiltIn | ToolEntry),
    Shape("a built-in tool's name, or a mapping with the one key python, http or mcp"),
]
