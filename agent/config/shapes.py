"""What values in an agent's file look like, each with the words that an error and an editor say about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class Shape(NamedTuple):
    """What a key should be, in words that finish the sentence "KEY should be ..."; an editor shows them too."""

    text: str

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        if "$ref" in schema:  # a reference has no words of its own in most editors
            return {"allOf": [schema], "description": self.text}
        return {**schema, "description": self.text}


class Part(BaseModel):
    """A mapping in an agent's file: frozen, and every key of it known."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Plain(str):
    """A word that stood in the file without quotes; where JSON is asked for it may be a number."""

    __slots__ = ()


_INTEGER = re.compile(r"[-+]?[0-9]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,15}|[0-9]{1,15}(\.[0-9]{0,15})?)([eE][-+]?[0-9]{1,2})?")


def as_json(value: object) -> object:
    """Read unquoted numbers as numbers (YAML 1.2, 10.3.2), all the way down."""
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_json(each) for each in value]
    if isinstance(value, Plain):
        if _INTEGER.fullmatch(value):
            return int(value)
        return float(value) if _FLOAT.fullmatch(value) else str(value)
    return value


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder
        raise ValueError("no such zone") from None
    return name


def _a_list(value: object) -> object:
    """One value stands for a list of one."""
    return value if isinstance(value, list | tuple) else [value]


class _OneOrMore:
    """Takes a single value for a list of one."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_a_list, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        several = handler(core)
        return {"anyOf": [several["items"], several]}


_NUMBER = r"\+[1-9][0-9]{6,14}"
_SIP = r"sips?:([A-Za-z0-9_.!~*'()&=+$,;?/%-]+@)?[A-Za-z0-9.-]+(:[0-9]{1,5})?"

# An editor reads an unquoted +15551234567 as a number; here it is text in any case.
_OR_INTEGER: dict[str, Any] = {"type": ["string", "integer"]}

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
"""A line to be spoken."""

Instruction = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)
]
"""What the model is asked to do, in its own words."""

Number = Annotated[
    str,
    Field(pattern=f"^{_NUMBER}$", json_schema_extra=_OR_INTEGER),
    Shape("a number such as +15551234567 (E.164)"),
]
Sip = Annotated[
    str,
    Field(pattern=f"^{_SIP}$", max_length=200),
    Shape("an address such as sip:desk@example.com"),
]
Address = Annotated[
    str,
    Field(pattern=f"^({_NUMBER}|{_SIP})$", max_length=200, json_schema_extra=_OR_INTEGER),
    Shape("a number such as +15551234567 (E.164) or an address such as sip:desk@example.com"),
]
Reached = Annotated[
    str,
    Field(
        pattern=f"^({_NUMBER}|[0-9*]{{1,6}}|{_SIP})$",
        max_length=200,
        json_schema_extra=_OR_INTEGER,
    ),
    Shape(
        "a number such as +15551234567 (E.164), an extension such as 600, or sip:desk@example.com"
    ),
]
Tag = Annotated[
    str,
    Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"),
    Shape("a language tag such as en-US (BCP 47)"),
]
Zone = Annotated[str, AfterValidator(_zone), Shape("a time zone such as America/New_York (IANA)")]
Variable = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_]{0,39}$"),
    Shape("a name of at most 40 small letters, digits and _"),
]
TargetName = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_]{0,39}$"),
    Shape("a name of at most 40 small letters, digits and _"),
]
ToolName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"),
    Shape("a name of at most 64 letters, digits and _"),
]
Secret = Annotated[
    str,
    Field(pattern=r"^[A-Z][A-Z0-9_]{1,63}$"),
    Shape("the name of the environment variable that holds the secret, such as CRM_TOKEN"),
]
Json = Annotated[dict[str, Any], BeforeValidator(as_json)]
"""A JSON object; the numbers in it are numbers."""

OneOrMore = _OneOrMore()
