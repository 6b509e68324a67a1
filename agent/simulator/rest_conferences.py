"""Twilio's REST API for conferences and who is in them.

    GET    /Conferences.json?FriendlyName=&Status=          list them
    GET    /Conferences/{conference}.json                   look at one
    POST   /Conferences/{conference}.json                   Status=completed: end it
    GET    /Conferences/{conference}/Participants.json      who is in
    POST   /Conferences/{conference or name}/Participants.json    call somebody into it
    GET    /Conferences/{conference}/Participants/{call}.json
    POST   /Conferences/{conference}/Participants/{call}.json     Hold, Muted, EndConferenceOnExit
    DELETE /Conferences/{conference}/Participants/{call}.json     let go

Source: Twilio, "Conference resource" and "Conference participant resource".
"""

from __future__ import annotations

import re
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple

from agent.simulator import twiml
from agent.simulator.rest_forms import VERSION, ApiError, Fields, filters, missing, order

if TYPE_CHECKING:
    from agent.simulator.cdr import CallRecord
    from agent.simulator.conference import Conference, Participant
    from agent.simulator.network import Network

ONE = re.compile(r"/Conferences/([^/]+)\.json")
PARTICIPANTS = re.compile(r"/Conferences/([^/]+)/Participants\.json")
PARTICIPANT = re.compile(r"/Conferences/([^/]+)/Participants/([^/]+)\.json")
FLAGS = ("Hold", "Muted", "EndConferenceOnExit")

Answer = tuple[object, int]


class Asked(NamedTuple):
    """A request: its method, whole path, form and query."""

    method: str
    path: str
    form: dict[str, list[str]]
    query: dict[str, str]


def conferences(network: Network, asked: Asked, rest: str) -> Answer:
    """Answer a request; `rest` is the path behind the account's. Returns body and status.

    Raises:
        ApiError: it is refused.
    """
    if rest == "/Conferences.json" and asked.method == "GET":
        return _list(network, asked.query), 200
    if found := ONE.fullmatch(rest):
        return _one(_known(network, found[1], asked), asked), 200
    if found := PARTICIPANTS.fullmatch(rest):
        return _participants(network, found[1], asked)
    if found := PARTICIPANT.fullmatch(rest):
        conference = _known(network, found[1], asked)
        return _participant(conference, found[2], asked)
    raise missing(asked.path)


def _known(network: Network, sid: str, asked: Asked) -> Conference:
    try:
        return network.conferences[sid]
    except KeyError:
        raise missing(asked.path) from None


def _list(network: Network, query: dict[str, str]) -> dict[str, object]:
    wanted, _, _ = filters(query, {"FriendlyName": "friendly_name", "Status": "status"})
    shown = [resource(one) for one in reversed(network.conferences.values())]
    shown = [one for one in shown if all(one[name] == value for name, value in wanted.items())]
    return _page("conferences", shown, f"/{VERSION}/Accounts/{network.options.account_sid}")


def _page(key: str, shown: list[dict[str, object]], uri: str) -> dict[str, object]:
    """All of a list on one page: the stand-in's are short."""
    return {key: shown, "page": 0, "page_size": 50, "next_page_uri": None, "uri": uri}


def _one(conference: Conference, asked: Asked) -> dict[str, object]:
    if asked.method == "POST":
        fields = Fields(asked.form)
        if fields.choice("Status", "", ("completed",)) != "completed":
            raise ApiError(20001, "Status=completed is all that can be asked of a conference")
        fields.nothing_else()
        conference.end("conference-ended-via-api")
    elif asked.method != "GET":
        raise ApiError(20004, "Method not allowed", 405)
    return resource(conference)


def _participants(network: Network, name: str, asked: Asked) -> Answer:
    if asked.method == "GET":
        conference = _known(network, name, asked)
        shown = [_shown(conference, one) for one in conference.participants.values()]
        return _page("participants", shown, asked.path), 200
    if asked.method != "POST":
        raise ApiError(20004, "Method not allowed", 405)
    known = network.conferences.get(name)
    form = dict(asked.form)
    fields = Fields({key: form.pop(key) for key in _ROOM_FIELDS if key in form})
    room = twiml.Room(
        name=name if known is None else known.name,
        starts=fields.flag("StartConferenceOnEnter", default=True),
        ends=fields.flag("EndConferenceOnExit", default=False),
        muted=fields.flag("Muted", default=False),
        label=fields.one("Label"),
        status_callback=fields.url("ConferenceStatusCallback", 21609),
        events=frozenset(" ".join(fields.many("ConferenceStatusCallbackEvent")).split()),
    )
    if extra := sorted(room.events - twiml.ROOM_EVENTS):
        raise ApiError(21626, f"ConferenceStatusCallbackEvent {extra[0]!r} is none")
    fields.one("Beep")
    placed, url = order(form, network.options.numbers, (twiml.Dial(room=room), twiml.Hangup()))
    record = network.place(placed, url or room.status_callback).record
    return _person(network.conference(room), record, room), 201


_ROOM_FIELDS = (
    "Beep",
    "ConferenceStatusCallback",
    "ConferenceStatusCallbackEvent",
    "ConferenceStatusCallbackMethod",
    "EndConferenceOnExit",
    "Label",
    "Muted",
    "StartConferenceOnEnter",
)


def _participant(conference: Conference, sid: str, asked: Asked) -> Answer:
    called = [one for one in conference.participants.values() if sid in {one.record.sid, one.label}]
    if not called or not sid:
        raise missing(asked.path)
    one = called[0]
    if asked.method == "DELETE":
        conference.leave(one, "participant_updated_via_api")
        return None, 204
    if asked.method == "POST":
        fields = Fields(asked.form)
        if not set(asked.form) & set(FLAGS):
            raise ApiError(20001, f"one of {', '.join(FLAGS)} says what to do")
        hold = fields.flag("Hold", default=one.hold)
        muted = fields.flag("Muted", default=one.muted)
        one.ends = fields.flag("EndConferenceOnExit", default=one.ends)
        fields.url("HoldUrl", 21205)
        fields.nothing_else()
        conference.set_hold(one, hold=hold)
        conference.set_muted(one, muted=muted)
    return _shown(conference, one), 200


def resource(conference: Conference) -> dict[str, object]:
    """A conference as the API shows it."""
    uri = _uri(conference)
    return {
        "account_sid": conference.account_sid,
        "api_version": VERSION,
        "call_sid_ending_conference": conference.ended_by or None,
        "date_created": formatdate(conference.created_wall_s),
        "date_updated": formatdate(conference.updated_wall_s),
        "friendly_name": conference.name,
        "reason_conference_ended": conference.ended_because or None,
        "region": "us1",
        "sid": conference.sid,
        "status": conference.status,
        "subresource_uris": {"participants": f"{uri}/Participants.json"},
        "uri": f"{uri}.json",
    }


def _shown(conference: Conference, one: Participant) -> dict[str, object]:
    room = twiml.Room(
        name=conference.name, starts=one.starts, ends=one.ends, muted=one.muted, label=one.label
    )
    return _person(conference, one.record, room) | {
        "date_created": formatdate(one.entered_wall_s),
        "date_updated": formatdate(one.entered_wall_s),
        "hold": one.hold,
        "status": "connected",
    }


def _person(conference: Conference, record: CallRecord, room: twiml.Room) -> dict[str, object]:
    return {
        "account_sid": conference.account_sid,
        "call_sid": record.sid,
        "call_sid_to_coach": None,
        "coaching": False,
        "conference_sid": conference.sid,
        "date_created": formatdate(record.created_wall_s),
        "date_updated": formatdate(record.created_wall_s),
        "end_conference_on_exit": room.ends,
        "hold": False,
        "label": room.label or None,
        "muted": room.muted,
        "queue_time": str(round(record.queued_ms)),
        "start_conference_on_enter": room.starts,
        "status": record.status,
        "uri": f"{_uri(conference)}/Participants/{record.sid}.json",
    }


def _uri(conference: Conference) -> str:
    return f"/{VERSION}/Accounts/{conference.account_sid}/Conferences/{conference.sid}"
