"""A call as a state machine: events and time in, commands out.

    RINGING --line started--> TALKING --goodbye--> ENDING --heard out--> ENDED
                               |    ^                |
                       line broke  line started      +--caller back--> TALKING
                               v    |
                              PARKED --gave up--> ENDED

The whole interface is `handle(event, now)`, `tick(now)` and `deadline()`. After each call of the first two, carry out the commands
in order and arm `deadline()`. Times are seconds, monotonic. The call begins while the phone still rings, so that the model is
ready and the first words are in hand when the caller hears us.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, assert_never

from agent import events as e
from agent.call.barge_in import BargeIn
from agent.call.dead_air import Air, DeadAir, Step
from agent.call.downlink import Downlink
from agent.call.heard_truth import BREATH, IDLE, HeardTruth
from agent.call.hops import Hop, Hops, Moment
from agent.call.life import LIFE, Phase, Signal, Timer
from agent.call.metrics import CallMetrics
from agent.call.model_leg import Leg, ModelLeg
from agent.call.tool_calls import ToolCalls
from agent.call.turns import Agent, Sign, Turns
from agent.call.uplink import LEAD_IN, Uplink
from agent.errors import OwnFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.call.options import CallOptions, OwnLine, OwnLines


class CallMachine:
    """One call.

    Args:
        options: limits and habits.
        own: what the call can say without the model.

    Attributes:
        own: as above; the flight record tells it, so that replay can build the same machine.
    """

    def __init__(self, options: CallOptions, own: OwnLines) -> None:
        self.phase = Phase.RINGING
        self.reason = ""  # the record's `end_reason`, once it is decided
        self.turns = Turns()
        self.own = own
        self._air = DeadAir(options.dead_air)
        self.metrics = CallMetrics(dead_air=self._air.seconds)
        self._barge_in = BargeIn(options.barge_in)
        self._truth = HeardTruth(tells=options.tells_heard)
        self._options = options
        self._uplink = Uplink(options.uplink, 0.0)
        self._downlink = Downlink(options.playout)
        self._leg = ModelLeg(options.leg)
        self._tools = ToolCalls()
        self._hops = Hops()
        self._timers: dict[Timer, float] = {}
        self._out: list[e.AnyCommand] = []
        self._speak_at = math.inf  # when the agent's voice is to be looked after again

    # ---- the interface

    def handle(self, event: e.AnyEvent, now: float) -> list[e.AnyCommand]:
        """Take one event; `now` never goes back."""
        if self.phase is not Phase.ENDED:
            if type(event) is not e.LineAudio:  # 50 a second, and none changes what the agent says
                self._speak_at = now
            HANDLERS[type(event)](self, event, now)
        return self._flush(now)

    def tick(self, now: float) -> list[e.AnyCommand]:
        """Do what is due."""
        for timer in [timer for timer, at in self._timers.items() if at <= now]:
            if timer in self._timers:  # another one may have ended the call
                self._speak_at = now
                self._fired(timer, now)
        return self._flush(now)

    def deadline(self) -> float | None:
        """When to call `tick`, None where only an event can change anything."""
        at = min((self._speak_at, self._air.deadline(), *self._timers.values()))
        for leg in (self._uplink, self._leg):
            its = leg.deadline()
            if its is not None and its < at:
                at = its
        return None if at == math.inf else at

    # ---- the call's life

    def _call_started(self, event: e.CallStarted, now: float) -> None:
        self._uplink = Uplink(self._options.uplink, now)
        self._open_model(now)
        self._timers[Timer.ANSWER] = now + self._options.answer_within
        if self.own.disclosure is not None:
            self._say(self.own.disclosure)

    def _call_abandoned(self, event: e.CallAbandoned, now: float) -> None:
        self._go(Signal.GAVE_UP, now, event.reason)

    def _line_started(self, event: e.LineStarted, now: float) -> None:
        for waiting in (Timer.ANSWER, Timer.START, Timer.PARK):
            self._timers.pop(waiting, None)
        self._timers.setdefault(Timer.LIMIT, now + self._options.max_seconds)
        self._downlink.playout.attach(now)
        self._air.line_started(now)
        self._go(Signal.LINE_STARTED, now)

    def _line_ended(self, event: e.LineEnded, now: float) -> None:
        self._downlink.playout.detach(now)
        if event.reason == "stopped":
            self._go(Signal.LINE_STOPPED, now, "caller_hung_up")
        else:
            self._go(Signal.LINE_BROKE, now, "line_lost")

    def _answer(self, now: float) -> None:
        """Stop ringing, once."""
        if self._timers.pop(Timer.ANSWER, None) is not None:
            self._out.append(e.Answer())
            self._timers[Timer.START] = now + self._options.start_within

    def _go(self, signal: Signal, now: float, reason: str = "") -> None:
        try:
            self.phase = LIFE[self.phase, signal]
        except KeyError:
            raise OwnFault(f"a call that is {self.phase} was told {signal}") from None
        if signal is Signal.CALLER_BACK:
            self.reason = ""
            for timer in (Timer.GOODBYE, Timer.SPEAK, Timer.LINGER):
                self._timers.pop(timer, None)
        if reason and not self.reason:
            self.reason = reason if self.phase in {Phase.ENDING, Phase.ENDED} else ""
        if self.phase is not Phase.TALKING:
            self._air.look(None, now)
        if self.phase is Phase.PARKED:
            self._timers[Timer.PARK] = now + self._options.park_within
        elif self.phase is Phase.ENDING:
            self._timers[Timer.GOODBYE] = now + self._options.goodbye_within
        elif self.phase is Phase.ENDED:
            self._end(now)

    def _end(self, now: float) -> None:
        self._timers.clear()
        self._told(self._hops.end(self._uplink.dropped))
        self._model_gone()
        self._keep_heard(now, everything=True)
        self._downlink.playout.detach(now)
        self._out.extend(self._tools.stop())
        self._out.extend((e.HangUp(), e.Finish(self.reason or "internal_error")))

    def _fired(self, timer: Timer, now: float) -> None:
        if timer is Timer.ANSWER:
            self._answer(now)
            return
        del self._timers[timer]
        match timer:
            case Timer.START:
                self._go(Signal.GAVE_UP, now, "no_start")
            case Timer.PARK:
                self._go(Signal.GAVE_UP, now, "line_lost")
            case Timer.LIMIT:
                self._close_with(self.own.time_limit, "time_limit", now)
            case Timer.GOODBYE:
                self._last_words_late(now)
            case Timer.SPEAK:
                self._model_silent(now)
            case Timer.LINGER:
                self._go(Signal.HEARD_OUT, now)
            case Timer.REFUSE:
                self.turns.move(Sign.GONE)
            case Timer.MOMENT:
                self._say(self.own.moment)
            case _:
                assert_never(timer)

    def _last_words_late(self, now: float) -> None:
        """The watchdog of the last words: it waits for what is still playing, and for nothing else."""
        left = self._downlink.playout.unplayed(now)
        if left > 0:
            self._timers[Timer.GOODBYE] = now + left + self._options.playout.patience
        else:
            self._go(Signal.HEARD_OUT, now)

    def _model_silent(self, now: float) -> None:
        """The model ended the call and has no more to say; whoever is still speaking is heard first."""
        quiet_at = self.turns.caller_last_heard() + self._options.speak_within
        if quiet_at > now:
            self._timers[Timer.SPEAK] = quiet_at
        elif self.phase is Phase.TALKING:
            self._go(Signal.GOODBYE, now, "agent_hung_up")
        else:
            self._go(Signal.HEARD_OUT, now)

    def _close_with(self, line: OwnLine, reason: str, now: float) -> None:
        """Say one honest sentence of our own after what is queued, then hang up."""
        if self.phase is Phase.ENDING:
            return
        self._model_gone()
        if self.phase is Phase.RINGING and Timer.ANSWER in self._timers:
            self._go(Signal.GAVE_UP, now, reason)  # not answered: the webhook speaks for us
            return
        self._say(line)
        self._go(Signal.GOODBYE, now, reason)

    # ---- the caller

    def _line_audio(self, event: e.LineAudio, now: float) -> None:
        if self._uplink.feed(event.pcm, now):
            self.turns.caller_voiced(now)
            self._air.voice(self._uplink.meter.started, now)
            if self._barge_in.outgrown(self._uplink.meter):
                self._speak_at = now
                self._cut(now)

    def _line_mark(self, event: e.LineMark, now: float) -> None:
        self._downlink.playout.mark_played(event.name, now)

    def _caller_said(self, event: e.CallerSaid, now: float) -> None:
        self.turns.caller_said(event.text)
        # A late transcription of what is being answered is no interruption: there must be a voice on the line.
        if self.turns.caller_spoke_since_reply():
            if not self._downlink.unheard(now):
                self._air.caller_spoke()
            self._caller_interrupts(now)

    def _caller_activity(self, event: e.CallerActivity, now: float) -> None:
        if event.active:
            self._caller_interrupts(now)

    def _caller_interrupts(self, now: float) -> None:
        """Stop a reply that is generated but not yet heard; while it is generated, the model says `interrupted`."""
        if self.turns.state is not Agent.SPEAKING and not self._shielded(now):
            self._cut(now)

    def _shielded(self, now: float) -> bool:
        greeting = self.turns.greeting_began(self._downlink.playout.heard(now), now)
        return self._barge_in.shielded(self._uplink.meter, greeting)

    # ---- the agent

    def _model_ready(self, event: e.ModelReady, now: float) -> None:
        owed = self._leg.opened(now)
        self._timers.pop(Timer.MOMENT, None)
        repeated = self._leg.plan.keep_audio and self._uplink.again()
        if repeated:
            self.turns.said_again()
        asked = not self.turns.answered or (owed and not repeated)
        if asked:
            self._ask(self._options.go_on)
        self._hops.ready(now, asked=asked)
        self._uplink.open()
        self._air.session_ready(now, asked=asked)

    def _ask(self, words: str) -> None:
        """Have the model speak; who has not greeted yet is asked for that."""
        text = words if self.turns.answered else self._options.greeting
        self._uplink.say(e.SendText(text))

    def _model_audio(self, event: e.ModelAudio, now: float) -> None:
        if self.turns.state is Agent.REFUSING:
            self.metrics.refused_ms += event.pcm.seconds * 1000
            return
        if self.phase is Phase.ENDING and self.reason != "agent_hung_up":
            return  # our own last line is the last
        self._timers.pop(Timer.SPEAK, None)
        self._air.agent_spoke()
        turn = self.turns.reply_audio(now, self._downlink.position)
        if turn.first_byte == now:
            self._uplink.answering()
        self._downlink.feed(event.pcm)
        turn.end = self._downlink.position
        self._answer(now)

    def _agent_said(self, event: e.AgentSaid, now: float) -> None:
        self.turns.agent_said(event.text)

    def _generation_complete(self, event: e.GenerationComplete, now: float) -> None:
        if self.turns.move(Sign.GENERATED) is Agent.SPEAKING:
            self._downlink.end_utterance()
            self._safe(now)

    def _turn_complete(self, event: e.TurnComplete, now: float) -> None:
        self._timers.pop(Timer.REFUSE, None)
        before = self.turns.move(Sign.COMPLETE)
        if before is Agent.SPEAKING:
            self._downlink.end_utterance()
        self._air.turn_complete(sound=before is not Agent.QUIET, now=now)
        self._safe(now)

    def _interrupted(self, event: e.Interrupted, now: float) -> None:
        before = self.turns.move(Sign.INTERRUPTED)
        self._air.interrupted()
        if before in {Agent.SPEAKING, Agent.SPOKEN}:
            self._timers[Timer.REFUSE] = now + self._options.refuse_late
        if not self._barge_in.phantom(self._uplink.meter, now) and not self._shielded(now):
            self._cut(now)
        elif before is Agent.SPEAKING:
            self._downlink.end_utterance()
            self._air.owe()

    def _cut(self, now: float) -> None:
        """Barge-in: stop the voice at once and remember what was heard of it."""
        if not self._downlink.unheard(now):
            return
        self._keep_heard(now, everything=True)
        self._out.extend(self._downlink.cut(now))
        self._air.caller_spoke()
        self.turns.cut(self._downlink.position)
        self._truth.cut(self.turns.current)
        self.metrics.barge_ins += 1
        if self.phase is Phase.ENDING and self.reason == "agent_hung_up":
            # The caller has more to say: the call goes on if the model answers, and ends if it is silent.
            self._go(Signal.CALLER_BACK, now)
            self._timers[Timer.SPEAK] = now + self._options.speak_within

    def _say(self, line: OwnLine) -> None:
        start = self._downlink.position
        self._downlink.say_whole(line.pcm)
        self.turns.own_line(line.text, start, self._downlink.position)

    # ---- the session and its tools

    def _tool_called(self, event: e.ToolCalled, now: float) -> None:
        self._air.tool(now)
        self._carry(self._tools.called(event))

    def _tools_cancelled(self, event: e.ToolsCancelled, now: float) -> None:
        self._uplink.unsay(event.ids)
        self._carry(self._tools.cancelled(event.ids))

    def _tool_finished(self, event: e.ToolFinished, now: float) -> None:
        self._air.tool(now)
        counts, commands = self._tools.finished(event)
        self._carry(commands)
        self.metrics.tools = self._tools.answered
        if counts and event.effect is not None and self.phase in {Phase.TALKING, Phase.ENDING}:
            self._go(Signal.GOODBYE, now, "agent_hung_up")
            if self.turns.caller_spoke_since_reply():
                self._timers[Timer.SPEAK] = now + self._options.speak_within

    def _carry(self, commands: list[e.AnyCommand]) -> None:
        """Commands for tools go at once, answers for the model in their turn."""
        for command in commands:
            if isinstance(command, e.SendToolResult):
                self._uplink.say(command)
            else:
                self._out.append(command)

    def _model_usage(self, event: e.ModelUsage, now: float) -> None:
        self.metrics.bill(event)

    def _model_handle(self, event: e.ModelHandle, now: float) -> None:
        if self._leg.snapshot(event.handle, event.resumable):
            self.turns.saved()
            self._tools.snapshot()
            self._safe(now)

    def _model_going_away(self, event: e.ModelGoingAway, now: float) -> None:
        self._leg.going_away(event.seconds, now)

    def _model_ended(self, event: e.ModelEnded, now: float) -> None:
        owed = self.turns.owes_answer()
        if self.phase is Phase.ENDING:
            self._model_gone()
        elif self._leg.lost(event.fate, now, owed=owed):
            self._session_gone(now)
            if not self._leg.plan.keep_audio:
                self._uplink.close()
            if self.phase is Phase.TALKING and self._leg.without_session_since() == now:
                self._timers[Timer.MOMENT] = now + self._options.moment_after
        else:
            self._close_with(self.own.trouble, "model_lost", now)

    def _look_after_model(self, now: float) -> None:
        """Open the next session when its time has come, hop in a silent moment, give up when it takes too long."""
        if self._leg.due(now):
            self._open_model(now)
        elif self._leg.out_of_time(now):
            self._speak_at = now
            self._close_with(self.own.trouble, "model_lost", now)
        elif self._leg.ends_soon(now) and self._leg.hop_due(now, self._quiet_since(now)):
            self._speak_at = now
            self._hop(now, owed=self.turns.owes_answer())

    def _hop(self, now: float, *, owed: bool) -> None:
        self._leg.hop(now, owed=owed)
        self._session_gone(now)
        self._order_model()

    def _open_model(self, now: float) -> None:
        self._leg.open(now)
        self._order_model()

    def _order_model(self) -> None:
        plan = self._leg.plan
        if not plan.resume:
            self._truth.forget()
        memory = self.turns.memory(everything=not plan.resume)
        handle = self._leg.handle if plan.resume else ""
        self._out.append(e.OpenModel(handle=handle, memory=memory, smaller=plan.smaller))

    def _session_gone(self, now: float) -> None:
        """What there was of a session is over; what it said and what was said to it stays."""
        broke_off = self.turns.state is Agent.SPEAKING
        dropped = self._uplink.dropped
        if not self._leg.plan.keep_audio:
            dropped -= self._uplink.unanswered
        planned = self._leg.state is Leg.OPENING
        self._told(self._hops.gone(now, planned=planned, broke_off=broke_off, dropped=dropped))
        self._timers.pop(Timer.REFUSE, None)
        self._uplink.pause()
        self._tools.session_gone()
        if self.turns.move(Sign.GONE) is Agent.SPEAKING:
            self._downlink.end_utterance()
            self._air.owe()

    def _follow_hop(self, now: float) -> None:
        moment = Moment(
            due=self.turns.owes_answer(),
            playing=self.phase is Phase.RINGING or self._downlink.playout.unplayed(now) > 0,
            voice_at=self.turns.caller_last_heard(),
            speaks=self.turns.state is not Agent.QUIET,
            caught_up=self._uplink.speech_sent,
            dropped=self._uplink.dropped,
        )
        self._told(self._hops.follow(now, moment))

    def _told(self, hop: Hop | None) -> None:
        if hop is not None:
            self.metrics.hops = self._hops.made
            self._out.append(e.Tell(str(hop)))

    def _quiet_since(self, now: float) -> float | None:
        """Since when nobody speaks and nothing runs; None where somebody does."""
        busy = self.turns.state is not Agent.QUIET or len(self._tools) > 0
        if busy or self.turns.speech_since() is not None or self._downlink.unheard(now):
            return None
        return self.turns.agent_last_heard()

    def _tell_truth(self, now: float) -> None:
        """Tell the model what was heard of its reply, where no generation can run that the note would end."""
        busy = self.turns.state is not Agent.QUIET or len(self._tools) > 0
        if busy or not self._leg.ready or self._uplink.waiting > BREATH:
            return
        in_word = now - self.turns.caller_last_heard() <= BREATH
        idle = self._quiet_since(now) is not None and self._air.calm_for(now) >= IDLE
        if note := self._truth.note(in_word=in_word, idle=idle):
            self._uplink.say(e.SendNote(note))

    def _safe(self, now: float) -> None:
        """What the caller said is answered, or in a snapshot: only what is not yet has to be kept."""
        since = self.turns.speech_since()
        self._uplink.forget(now if since is None else since - LEAD_IN)

    def _model_gone(self) -> None:
        """Nobody listens and nobody speaks any more; what was said and queued is still heard."""
        if not self._leg.gone:
            self._leg.give_up()
            self._out.append(e.CloseModel())
        self._uplink.close()
        self._timers.pop(Timer.MOMENT, None)
        if self.turns.move(Sign.GONE) is Agent.SPEAKING:
            self._downlink.end_utterance()

    # ---- silence

    def _break_silence(self, now: float) -> None:
        """Do what is due about a silence, and find out when the next step is."""
        while (step := self._air.look(self._weather(now), now)) is not Step.NOTHING:
            self._speak_at = now
            STEPS[step](self, now)

    def _weather(self, now: float) -> Air | None:
        """What silence is judged by; None where nobody is expected to speak, or another timer watches for it."""
        if self.phase is not Phase.TALKING or Timer.SPEAK in self._timers:
            return None
        unplayed = self._downlink.playout.unplayed(now)
        return Air(unplayed, self.turns.state, len(self._tools) > 0, self._leg.ready)

    def _nudge(self, now: float) -> None:
        self._ask(self._options.dead_air.words)

    def _resend(self, now: float) -> None:
        if not self._uplink.again():
            self._nudge(now)

    def _leave_silent_session(self, now: float) -> None:
        self._hop(now, owed=True)
        turn = self.turns.current
        if turn is None or not turn.own:  # not twice in a row
            self._say(self.own.moment)

    def _give_up(self, now: float) -> None:
        self._close_with(self.own.trouble, "model_lost", now)

    def _leave_unheard(self, now: float) -> None:
        self._close_with(self.own.unheard, "caller_silent", now)

    def _noted(self, event: e.AnyEvent, now: float) -> None:
        """The record has it; the call does nothing about it."""

    # ---- what is due

    def _flush(self, now: float) -> list[e.AnyCommand]:
        """The commands of this step, in the order in which they must be carried out."""
        if self.phase is not Phase.ENDED:
            self._look_after_model(now)
            if now >= min(self._speak_at, self._air.deadline()):
                self._break_silence(now)
            if self._truth.pending:
                self._tell_truth(now)
        if self.phase is not Phase.ENDED:
            speaks = now >= self._speak_at or self.phase is Phase.ENDING
            if speaks:
                self._out.extend(self._downlink.due(now))
            self._out.extend(self._uplink.due(now))
            self.turns.sent(now, speech=self._uplink.speech_sent, position=self._downlink.sent)
            if self._hops.following:
                self._follow_hop(now)
            if speaks:
                self._follow_the_ear(now)
        out, self._out = self._out, []
        return out

    def _follow_the_ear(self, now: float) -> None:
        """Keep what was heard; notice a line that is dead, and a goodbye that was heard to its end."""
        self._keep_heard(now)
        if self._downlink.playout.overdue(now):
            self._out.append(e.HangUp())
            self._line_ended(e.LineEnded("lost"), now)
        if self.phase is Phase.ENDING:
            self._heard_out(now)
        deadline = self._downlink.playout.deadline()
        self._speak_at = math.inf if deadline is None else deadline

    def _heard_out(self, now: float) -> None:
        """Hang up when the last words were heard to their mark and the model has no more."""
        if Timer.START in self._timers or Timer.SPEAK in self._timers:
            return
        if not self._downlink.playout.settled(now) or self.turns.state is Agent.SPEAKING:
            self._timers.pop(Timer.LINGER, None)
        elif self.turns.state is Agent.QUIET:
            self._go(Signal.HEARD_OUT, now)
        else:
            self._timers.setdefault(Timer.LINGER, now + self._options.linger)

    def _keep_heard(self, now: float, *, everything: bool = False) -> None:
        for heard in self._downlink.take_heard(now, everything=everything):
            self.turns.heard(heard.at, heard.position, heard.pcm.samples, heard.pcm.rate)
            self._out.append(e.KeepHeard(heard.at, heard.pcm))
        self.metrics.dropped_up_ms = self._uplink.dropped * 1000
        self.metrics.dropped_down_ms = self._downlink.dropped * 1000
        self.metrics.underruns = self._downlink.playout.underruns


STEPS: dict[Step, Callable[[CallMachine, float], None]] = {
    Step.MOMENT: lambda call, now: call._say(call.own.moment),
    Step.NUDGE: CallMachine._nudge,
    Step.RESEND: CallMachine._resend,
    Step.HOP: CallMachine._leave_silent_session,
    Step.REPEAT: lambda call, now: call._say(call.own.repeat),
    Step.GIVE_UP: CallMachine._give_up,
    Step.STILL_THERE: lambda call, now: call._say(call.own.still_there),
    Step.UNHEARD: CallMachine._leave_unheard,
}
"""What a call does about silence, step by step; a test holds it equal to the steps that there are."""

HANDLERS: dict[type[e.AnyEvent], Callable[[CallMachine, Any, float], None]] = {
    e.LineAudio: CallMachine._line_audio,
    e.ModelAudio: CallMachine._model_audio,
    e.LineMark: CallMachine._line_mark,
    e.LineStarted: CallMachine._line_started,
    e.LineEnded: CallMachine._line_ended,
    e.LineDigit: CallMachine._noted,
    e.CallStarted: CallMachine._call_started,
    e.CallAbandoned: CallMachine._call_abandoned,
    e.ModelReady: CallMachine._model_ready,
    e.Interrupted: CallMachine._interrupted,
    e.GenerationComplete: CallMachine._generation_complete,
    e.TurnComplete: CallMachine._turn_complete,
    e.CallerSaid: CallMachine._caller_said,
    e.AgentSaid: CallMachine._agent_said,
    e.CallerActivity: CallMachine._caller_activity,
    e.ToolCalled: CallMachine._tool_called,
    e.ToolsCancelled: CallMachine._tools_cancelled,
    e.ToolFinished: CallMachine._tool_finished,
    e.ModelGoingAway: CallMachine._model_going_away,
    e.ModelHandle: CallMachine._model_handle,
    e.ModelUsage: CallMachine._model_usage,
    e.ModelEnded: CallMachine._model_ended,
}
"""What a call does about each event; a test holds it equal to the vocabulary."""
