"""A <Dial> to people: all of them are rung, the first who is ready is connected, until one hangs up.

    ringing -> answered -> whisper -> connected -> the dialled party hangs up: the action is asked
                                               +-> the caller hangs up, or gets other TwiML

Source: Twilio, "TwiML: Dial" and "TwiML: Number".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.simulator import twiml
from agent.simulator.cdr import HungUpBy
from agent.simulator.clock import now
from agent.simulator.outbound import Order

if TYPE_CHECKING:
    from agent.simulator.network import Network
    from agent.simulator.outbound import OutboundCall
    from agent.simulator.program import Program


async def dial_people(network: Network, program: Program, verb: twiml.Dial) -> dict[str, str]:
    """Run it to its end; returns what its action is told.

    Raises:
        TwimlError: 13214 the caller id is not the customer's.
    """
    orders = [_order(network, program, verb, target) for target in verb.targets]
    children = [
        network.place(order, target.whisper or target.status_callback or verb.action or "")
        for order, target in zip(orders, verb.targets, strict=True)
    ]
    for child in children:
        child.changed = program.stir
    await program.wait(
        float("inf"),
        lambda: (
            any(child.bridgeable for child in children)
            or all(child.record.over for child in children)
        ),
    )
    ready = [child for child in children if child.bridgeable]
    first = ready[0] if ready and not program.left else None
    for child in children:
        if child is not first:
            _let_go(child)
    if first is None:
        status = "canceled" if program.left else _outcome(children)
        return {"DialCallStatus": status, "DialCallSid": children[0].record.sid} | _BRIDGED[False]
    seconds = await _connected(program, first, verb.time_limit_s)
    return {
        "DialCallStatus": "completed",
        "DialCallSid": first.record.sid,
        "DialCallDuration": str(round(seconds)),
    } | _BRIDGED[True]


_BRIDGED = {yes: {"DialBridged": str(yes).lower()} for yes in (True, False)}


def _order(network: Network, program: Program, verb: twiml.Dial, target: twiml.Target) -> Order:
    parent = program.ground.record
    own = network.options.numbers
    known = {parent.from_, parent.to, *own}
    shown = verb.caller_id or parent.from_
    phone = twiml.E164.fullmatch(target.to) is not None
    if phone and verb.caller_id and shown not in known and (own or not twiml.E164.fullmatch(shown)):
        raise twiml.TwimlError(13214, "<Dial callerId> is not one of the customer's numbers")
    return Order(
        to=target.to,
        from_=shown,
        verbs=(twiml.Redirect(target.whisper),) if target.whisper else (),
        status_callback=target.status_callback,
        events=target.events,
        timeout_s=verb.timeout_s,
        send_digits=target.send_digits,
        direction="outbound-dial",
        parent_sid=parent.sid,
        bridged=True,
    )


def _outcome(children: list[OutboundCall]) -> str:
    """How it ended for everybody: one who picked up counts, though the whisper let him go."""
    statuses = [child.record.status for child in children]
    return "completed" if "completed" in statuses else statuses[0]


def _let_go(child: OutboundCall) -> None:
    if child.program is None:
        child.cancel()
    else:
        child.program.end(HungUpBy.OTHER_PARTY)


async def _connected(program: Program, child: OutboundCall, time_limit_s: float) -> float:
    """Both speak until one of them leaves; returns for how long."""
    parent, phone = program.ground.record, program.ground.phone
    at = now()
    program.pick_up()
    parent.connect(at, child.record.sid, "dial")
    child.record.connect(at, parent.sid, "dial")
    hangs_up_at = float("inf") if phone.talk_s is None else at + phone.talk_s
    await program.wait(min(hangs_up_at, at + time_limit_s), lambda: not child.bridgeable)
    parent.disconnect(now(), child.record.sid)
    child.record.disconnect(now(), parent.sid)
    if child.bridgeable:
        if not program.left and now() >= hangs_up_at:
            program.end(HungUpBy.PERSON)
        _let_go(child)
    return now() - at
