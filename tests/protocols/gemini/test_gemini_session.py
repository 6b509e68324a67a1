"""A session with Gemini as a machine: literal times, frames from the vectors, no socket."""

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from google.genai import types
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel

from agent.errors import Fate, OwnFault, UserError
from agent.events import (
    EndAudio,
    Interrupted,
    ModelAudio,
    ModelEnded,
    ModelEvent,
    ModelReady,
    Pcm16k,
    Pcm24k,
    SendAudio,
    SendNote,
    SendText,
    SendToolResult,
    ToolCalled,
)
from agent.protocols.gemini.session import (
    AUDIO_IN,
    ENDINGS,
    REFUSALS,
    TRANSITIONS,
    GeminiSession,
    State,
    Step,
    classify,
)
from agent.protocols.gemini.setup import MODELS, GeminiOptions, setup_message

if TYPE_CHECKING:
    from agent.protocols.live import LiveModel

VECTORS = Path(__file__).parents[2] / "vectors" / "gemini"
OPTIONS = GeminiOptions(model="gemini-3.8-live", system_instruction="You answer the telephone.")


def lines(name: str) -> list[dict[str, Any]]:
    header, *rest = (VECTORS / f"{name}.jsonl").read_text().splitlines()
    assert json.loads(header)["source"]
    return [json.loads(line) for line in rest]


def ready(options: GeminiOptions = OPTIONS, **more: Any) -> GeminiSession:
    session = GeminiSession(options, **more)
    session.connecting(0.0)
    session.opened(1.0)
    assert session.receive(b'{"setupComplete": {}}', 1.25) == [ModelReady(0.25)]
    return session


def plain(event: ModelEvent) -> dict[str, Any]:
    """An event as the vectors write it: sound as base64."""
    fields = msgspec.structs.asdict(event)
    if isinstance(event, ModelAudio):
        fields["pcm"] = base64.b64encode(event.pcm).decode()
        if fields["audible"]:
            del fields["audible"]
    return {"kind": event.__struct_config__.tag, **fields}


# ---- what a frame says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["turn", "interruption", "tools", "connection", "broken"])
@pytest.mark.parametrize("binary", [False, True])
def test_vectors(name: str, binary: bool) -> None:
    session = ready()
    for number, line in enumerate(lines(name)):
        text = line["text"] if "text" in line else json.dumps(line["frame"])
        before = dict(session.faults.counts)
        # Far apart: malformed frames in a row are another test.
        events = session.receive(text.encode() if binary else text, 100.0 * number)
        assert [plain(event) for event in events] == line["events"], line
        new = {k for k, n in session.faults.counts.items() if n > before.get(k, 0)}
        assert new == set(line.get("faults", [])), line
    assert session.state is State.READY


def frame(*sizes: int, **content: Any) -> str:
    parts = [
        {
            "inlineData": {
                "mimeType": "audio/pcm;rate=24000",
                "data": base64.b64encode(bytes(n)).decode(),
            }
        }
        for n in sizes
    ]
    return json.dumps({"serverContent": {"modelTurn": {"parts": parts}, **content}})


@given(st.binary(max_size=400), st.lists(st.integers(1, 90), max_size=40))
def test_any_chunking_gives_the_same_sound(sound: bytes, cuts: list[int]) -> None:
    session = ready()
    heard, rest = b"", sound
    for size in [*cuts, len(sound) or 1]:
        chunk, rest = rest[:size], rest[size:]
        data = base64.b64encode(chunk).decode()
        part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}
        message = {"serverContent": {"modelTurn": {"parts": [part]}}}
        for event in session.receive(json.dumps(message), 2.0):
            assert isinstance(event, ModelAudio)
            assert len(event.pcm) % 2 == 0
            heard += event.pcm
    assert heard == sound[: len(sound) // 2 * 2]


@pytest.mark.parametrize("end", ["interrupted", "generationComplete", "turnComplete"])
def test_half_a_sample_does_not_shift_the_next_generation(end: str) -> None:
    session = ready()
    session.receive(frame(3), 2.0)
    session.receive(json.dumps({"serverContent": {end: True}}), 2.1)
    [event] = session.receive(frame(4), 2.2)
    assert isinstance(event, ModelAudio)
    assert event.pcm == Pcm24k(bytes(4))


def test_interrupted_comes_before_sound_of_the_same_frame() -> None:
    events = ready().receive(frame(4, interrupted=True), 2.0)
    assert [type(event) for event in events] == [Interrupted, ModelAudio]


mutants = st.sampled_from(
    [
        json.dumps(line["frame"])
        for name in ("turn", "tools", "broken", "interruption", "connection")
        for line in lines(name)
        if "frame" in line and len(json.dumps(line["frame"])) < 2000
    ]
)


edits = st.tuples(st.integers(0, 2000), st.integers(0, 3), st.binary(max_size=3))


@settings(max_examples=500, deadline=None)
@given(mutants, st.lists(edits, max_size=4))
def test_no_mutation_of_a_message_raises(
    message: str, changes: list[tuple[int, int, bytes]]
) -> None:
    session = ready()
    text = bytearray(message.encode())
    for at, cut, more in changes:
        at %= len(text) + 1
        text[at : at + cut] = more
    for event in session.receive(bytes(text), 2.0):
        assert not isinstance(event, ModelAudio) or len(event.pcm) % 2 == 0


# ---- what we say -----------------------------------------------------------------------------------------------------


def judged(text: str) -> types.LiveClientMessage:
    """google-genai's types accept the frame, unknown names forbidden, and it is one message."""
    message = json.loads(text)
    assert len(message) == 1
    assert types.LiveClientMessage.model_config.get("extra") == "forbid"
    read = types.LiveClientMessage.model_validate(message)
    assert isinstance(read, BaseModel)
    return read


def test_audio_is_named_with_its_rate() -> None:
    pcm = Pcm16k(bytes(range(256)) * 5)
    read = judged(ready().send(SendAudio(pcm)))
    assert read.realtime_input is not None
    assert read.realtime_input.audio == types.Blob(data=bytes(pcm), mime_type=AUDIO_IN)
    assert read.realtime_input.media_chunks is None


@given(st.binary(max_size=700))
def test_any_audio_arrives_byte_by_byte(sound: bytes) -> None:
    message = json.loads(ready().send(SendAudio(Pcm16k(sound))))
    assert message == {
        "realtimeInput": {
            "audio": {
                "data": base64.b64encode(sound).decode(),
                "mimeType": "audio/pcm;rate=16000",
            }
        }
    }


def test_a_greeting_is_asked_for_as_the_model_wants_it() -> None:
    assert json.loads(ready().send(SendText('Say "hello".'))) == {
        "clientContent": {
            "turns": [{"role": "user", "parts": [{"text": 'Say "hello".'}]}],
            "turnComplete": True,
        }
    }
    old = GeminiOptions(model="gemini-3.1-flash-live-preview", system_instruction="")
    assert json.loads(ready(old).send(SendText("Greet."))) == {"realtimeInput": {"text": "Greet."}}


def test_a_note_is_a_turn_that_is_not_complete() -> None:
    assert json.loads(ready().send(SendNote("(The caller heard nothing.)"))) == {
        "clientContent": {
            "turns": [{"role": "user", "parts": [{"text": "(The caller heard nothing.)"}]}],
            "turnComplete": False,
        }
    }


def test_the_callers_end_is_the_end_of_the_audio_stream() -> None:
    assert json.loads(ready().send(EndAudio())) == {"realtimeInput": {"audioStreamEnd": True}}


@pytest.mark.parametrize("model", MODELS)
def test_google_genai_accepts_every_frame(model: str) -> None:
    options = GeminiOptions(
        model=model,
        system_instruction="",
        tool_scheduling="SILENT" if MODELS[model].scheduling else None,
    )
    session = ready(options)
    judged(session.send(SendText("Hello")))
    judged(session.send(SendNote("(The caller heard nothing.)")))
    judged(session.send(EndAudio()))
    judged(session.send(SendAudio(Pcm16k(bytes(640)))))
    session.receive(b'{"toolCall": {"functionCalls": [{"id": "fc-1", "name": "end_call"}]}}', 2.0)
    read = judged(session.send(SendToolResult("fc-1", "end_call", {"status": "ok"})))
    assert read.tool_response is not None
    assert read.tool_response.function_responses is not None
    [response] = read.tool_response.function_responses
    assert (response.id, response.name, response.response) == ("fc-1", "end_call", {"status": "ok"})
    expected = types.FunctionResponseScheduling.SILENT if MODELS[model].scheduling else None
    assert response.scheduling == expected


def call_tool(session: GeminiSession, **call: Any) -> list[ModelEvent]:
    return session.receive(json.dumps({"toolCall": {"functionCalls": [call]}}), 2.0)


def test_a_tool_is_answered_once() -> None:
    session = ready()
    assert call_tool(session, id="1", name="end_call") == [ToolCalled("1", "end_call", {})]
    session.send(SendToolResult("1", "end_call", {}))
    with pytest.raises(OwnFault, match="answers no open call"):
        session.send(SendToolResult("1", "end_call", {}))


def test_a_cancelled_tool_is_not_answered() -> None:
    session = ready()
    call_tool(session, id="1", name="end_call")
    session.receive('{"toolCallCancellation": {"ids": ["1", "of nobody"]}}', 2.1)
    assert session.send(SendToolResult("1", "end_call", {})) == ""  # the call has not read it yet
    for name in ("1", "of nobody"):
        with pytest.raises(OwnFault):
            session.send(SendToolResult(name, "end_call", {}))


def test_an_id_that_comes_again_after_its_cancellation_is_answered() -> None:
    session = ready()
    call_tool(session, id="1", name="end_call")
    session.receive('{"toolCallCancellation": {"ids": ["1"]}}', 2.1)
    call_tool(session, id="1", name="end_call")
    assert "toolResponse" in session.send(SendToolResult("1", "end_call", {}))


def test_a_call_without_id_is_answered_without_id() -> None:
    session = ready()  # Vertex AI: ids are optional
    call_tool(session, name="end_call")
    assert json.loads(session.send(SendToolResult("", "end_call", {}))) == {
        "toolResponse": {"functionResponses": [{"name": "end_call", "response": {}}]}
    }


def test_calls_without_an_id_are_each_answered() -> None:
    session = ready()
    call_tool(session, name="book")
    call_tool(session, name="book")
    answer = SendToolResult("", "book", {})
    assert session.send(answer) == session.send(answer) != ""


def test_scheduling_goes_when_the_setup_goes_without_it() -> None:
    options = msgspec.structs.replace(OPTIONS, tool_scheduling="SILENT")
    session = ready(options, without=("tool_scheduling",))
    call_tool(session, id="1", name="end_call")
    assert "scheduling" not in session.send(SendToolResult("1", "end_call", {}))


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_that_wants_no_words_says_so_where_the_model_can_be_asked(model: str) -> None:
    options = GeminiOptions(model=model, system_instruction="")
    for left_out in ((), ("tool_scheduling",)):
        session = ready(options, without=left_out)
        call_tool(session, id="1", name="book")
        said = session.send(SendToolResult("1", "book", {}, silent=True))
        hushed = MODELS[model].scheduling and not left_out
        assert ('"scheduling":"SILENT"' in said.replace(" ", "")) is hushed


# ---- the states ------------------------------------------------------------------------------------------------------


def test_it_has_the_shape_that_drivers_know() -> None:
    model: LiveModel = GeminiSession(OPTIONS)
    assert (model.ready, model.over, model.deadline()) == (False, False, None)


def test_setup_is_the_first_frame() -> None:
    session = GeminiSession(OPTIONS, without=("temperature",))
    session.connecting(0.0)
    assert session.opened(0.2) == setup_message(OPTIONS)


def in_state(state: State) -> GeminiSession:
    session = GeminiSession(OPTIONS)
    if state is State.IDLE:
        return session
    if state is State.CLOSED:
        session.leave()
        return session
    session.connecting(0.0)
    if state is State.CONNECTING:
        return session
    session.opened(1.0)
    if state is State.READY:
        session.receive(b'{"setupComplete": {}}', 1.25)
    return session


@pytest.mark.parametrize("state", State)
def test_readiness_is_the_state(state: State) -> None:
    session = in_state(state)
    assert session.state is state
    assert session.ready is (state is State.READY)
    assert session.over is (state is State.CLOSED)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("step", [Step.CONNECT, Step.OPEN])
def test_the_driver_may_not_leave_the_table(state: State, step: Step) -> None:
    session = in_state(state)
    act = session.connecting if step is Step.CONNECT else session.opened
    if (state, step) in TRANSITIONS:
        act(2.0)
        assert session.state is TRANSITIONS[state, step]
    else:
        with pytest.raises(OwnFault, match=f"{step} while the session is {state}"):
            act(2.0)
        assert session.state is state


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
@pytest.mark.parametrize(
    "command",
    [
        SendAudio(Pcm16k(bytes(640))),
        SendText("Hello"),
        SendNote("Hello"),
        SendToolResult("1", "end_call", {}),
    ],
    ids=lambda command: type(command).__name__,
)
def test_nothing_is_sent_unless_ready(state: State, command: Any) -> None:
    with pytest.raises(OwnFault, match=f"{type(command).__name__} while the session is {state}"):
        in_state(state).send(command)


@pytest.mark.parametrize("state", [State.IDLE, State.CONNECTING])
def test_no_frame_comes_without_a_socket(state: State) -> None:
    with pytest.raises(OwnFault):
        in_state(state).receive(b"{}", 2.0)


def test_what_comes_before_the_answer_is_counted_and_skipped() -> None:
    session = in_state(State.SETTING_UP)
    assert session.receive(frame(4), 1.1) == []
    assert session.faults.counts == {"message before setupComplete": 1}
    assert not session.ready


def test_the_answer_may_carry_more() -> None:
    message = {"setupComplete": {}, **json.loads(frame(4))}
    events = in_state(State.SETTING_UP).receive(json.dumps(message), 1.5)
    assert events == [ModelReady(0.5), ModelAudio(Pcm24k(bytes(4)), audible=False)]


def test_refused_options_never_make_a_session() -> None:
    with pytest.raises(UserError, match="^temperature: "):
        GeminiSession(msgspec.structs.replace(OPTIONS, temperature=0.0))
    unknown = GeminiOptions(model="gemini-99-live", system_instruction="")
    assert len(GeminiSession(unknown).warnings) == 1


# ---- deadlines -------------------------------------------------------------------------------------------------------


def test_connecting_has_five_seconds() -> None:
    session = GeminiSession(OPTIONS)
    assert session.tick(99.0) == []
    session.connecting(10.0)
    assert session.deadline() == 15.0
    assert session.tick(14.999) == []
    assert session.tick(15.0) == [ModelEnded(Fate.RESUME, None, "not connected within 5 s")]
    assert session.over
    assert session.deadline() is None
    assert session.tick(20.0) == []


def test_the_answer_to_setup_has_five_seconds() -> None:
    session = GeminiSession(OPTIONS)
    session.connecting(10.0)
    session.opened(12.0)
    assert session.deadline() == 17.0
    assert session.tick(16.999) == []
    expected = ModelEnded(Fate.STEP_DOWN, 1006, "setup not answered within 5 s")
    assert session.tick(17.0) == [expected]
    assert session.receive(b'{"setupComplete": {}}', 17.1) == []


def test_a_session_that_is_ready_has_no_deadline() -> None:
    session = ready()
    assert session.deadline() is None
    assert session.tick(1e9) == []


# ---- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", lines("closes"), ids=lambda line: f"{line['code']} {line['when']} {line['reason'][:30]}"
)
def test_close_reasons_seen_in_the_field(line: dict[str, Any]) -> None:
    session = in_state(State.READY if line["when"] == "ready" else State.SETTING_UP)
    [ended] = session.closed(line["code"], line["reason"], 9.0)
    assert isinstance(ended, ModelEnded)
    assert (ended.fate, ended.code) == (Fate(line["fate"]), line["code"])
    assert session.over


def test_every_row_of_the_close_table_is_needed_by_a_vector() -> None:
    """Each row decides at least one close that was seen, so none is dead."""

    def deciding(line: dict[str, Any]) -> int:
        return next(
            n
            for n, row in enumerate(ENDINGS)
            if row.words in line["reason"].lower()
            and (not row.codes or line["code"] in row.codes)
            and row.when in (None, line["when"])
        )

    assert {deciding(line) for line in lines("closes")} == set(range(len(ENDINGS)))


@given(st.integers(1000, 4999), st.text(max_size=123), st.booleans())
def test_every_close_has_a_fate(code: int, reason: str, is_ready: bool) -> None:
    assert classify(code, reason, ready=is_ready) in Fate


def test_an_api_key_in_a_reason_is_hidden() -> None:
    key = "AIza" + "x" * 35
    for reason in (f"Consumer 'api_key:{key}' has been suspended.", f"key {key} expired"):
        [ended] = in_state(State.SETTING_UP).closed(1008, reason, 9.0)
        assert isinstance(ended, ModelEnded)
        assert "xxx" not in ended.reason
        assert ended.reason.endswith(("has been suspended.", "expired"))


@pytest.mark.parametrize("status", [None, 302, 400, 401, 403, 404, 429, 500, 503])
def test_a_refused_upgrade(status: int | None) -> None:
    fatal = status in (400, 401, 403, 404, 429)
    assert fatal is (status in REFUSALS)
    fate = Fate.FATAL if fatal else Fate.RESUME
    assert in_state(State.CONNECTING).refused(status, "no", 2.0) == [ModelEnded(fate, None, "no")]


def test_a_peer_that_does_not_read() -> None:
    assert ready().stalled("slow", 2.0) == [ModelEnded(Fate.RESUME, 1006, "slow")]


def test_the_end_is_told_once() -> None:
    session = ready()
    assert len(session.closed(1000, "", 2.0)) == 1
    assert session.closed(1006, "", 2.1) == []
    assert session.stalled("slow", 2.2) == []
    assert session.refused(None, "no", 2.3) == []
    assert session.receive(frame(4), 2.4) == []


@pytest.mark.parametrize("state", State)
def test_after_leaving_the_end_is_not_told(state: State) -> None:
    session = in_state(state)
    session.leave()
    assert session.closed(1006, "", 9.0) == []
    assert session.over


def test_a_few_malformed_frames_are_skipped() -> None:
    session = ready()
    for n in range(40):
        assert session.receive(b"{", 2.6 * n) == []  # four in any ten seconds
    assert session.ready
    assert session.faults.counts == {"malformed frame": 40}


def test_many_malformed_frames_end_the_connection() -> None:
    session = ready()
    for n in range(4):
        assert session.receive(b"{", 20.0 + 2.5 * n) == []
    [ended] = session.receive(b"{", 30.0)
    assert ended == ModelEnded(Fate.RESUME, 1006, "5 malformed frames in 10 s")


@pytest.mark.parametrize(
    ("state", "code", "message", "fate"),
    [
        (State.SETTING_UP, 400, "Request contains an invalid argument.", Fate.STEP_DOWN),
        (State.READY, 400, "Request contains an invalid argument.", Fate.FRESH),
        (State.READY, 429, "You exceeded your current quota, please", Fate.FATAL),
        (State.READY, 500, "Internal error encountered.", Fate.RESUME),
    ],
)
def test_an_error_message_is_an_end(state: State, code: int, message: str, fate: Fate) -> None:
    text = json.dumps({"error": {"code": code, "message": message, "status": "X"}})
    [ended] = in_state(state).receive(text, 2.0)
    assert ended == ModelEnded(fate, 1006, f"error {code}: {message}")
