"""What Twilio is told to do with a call ("Twilio: TwiML for Programmable Voice")."""

from __future__ import annotations

from twilio.twiml.voice_response import (
    Dial,
    VoiceResponse,
)

from agent.errors import OwnFault

CONTENT_TYPE = "text/xml"

TOKEN_PARAMETER = "token"
"""Name under which `start.customParameters` brings the one-use token back."""

PARAMETER_CHARACTERS = 500
"""TwiML `<Stream>`: name and value of a `<Parameter>` together have to be shorter."""

LANGUAGES = [
    "en-US",
    "en-GB",
    "en-AU",
    "en-CA",
    "en-IN",
    "ca-ES",
    "da-DK",
    "de-DE",
    "es-ES",
    "es-MX",
    "fi-FI",
    "fr-FR",
    "fr-CA",
    "it-IT",
    "ja-JP",
    "ko-KR",
    "nb-NO",
    "nl-NL",
    "pl-PL",
    "pt-BR",
    "pt-PT",
    "ru-RU",
    "sv-SE",
    "zh-CN",
    "zh-HK",
    "zh-TW",
]
"""What Twilio's own voices speak without a choice of voice ("TwiML for Programmable Voice: Say"); `<Say>` fails on any other."""


def language_for(tag: str) -> str:
    """The nearest to a language tag that Twilio's own voices speak: the same, else the first of its family, else American."""
    if tag in LANGUAGES:
        return tag
    family = tag.partition("-")[0].replace("no", "nb")
    return next((each for each in LANGUAGES if each.partition("-")[0] == family), LANGUAGES[0])


def connect(stream_url: str, action_url: str, token: str) -> str:
    """Join the call to our media stream.

    `<Connect>` blocks: when the stream ends, for whatever reason, Twilio asks `action_url` what to
    do next. Verbs after it would never run, so there are none.

    Args:
        stream_url: `wss` (`ws` on loopback) and without a query, which Twilio does not support
            (error 31920).
        action_url: absolute; asked by POST.
        token: proves to the stream's endpoint that a signed webhook asked for it.
    """
    if not stream_url.startswith(("wss://", "ws://")) or "?" in stream_url:
        raise OwnFault("a stream's URL is wss:// without a query")
    if len(TOKEN_PARAMETER) + len(token) >= PARAMETER_CHARACTERS:
        raise OwnFault(f"a <Parameter> of {len(token)} characters is longer than Twilio takes")
    response = VoiceResponse()
    stream = response.connect(action=action_url, method="POST").stream(url=stream_url)
    stream.parameter(name=TOKEN_PARAMETER, value=token)
    return str(response)


def say_and_hang_up(text: str, *, language: str = "en-US") -> str:
    """Have Twilio's own voice say one thing and end the call: for when there is no stream.

    Args:
        text: what to say.
        language: the text's (BCP 47).
    """
    response = VoiceResponse()
    response.say(text, language=language_for(language))
    response.hangup()
    return str(response)


def say(text: str, *, language: str = "en-US") -> str:
    """Have Twilio's own voice say one thing and go on with what was asked for."""
    response = VoiceResponse()
    response.say(text, language=language_for(language))
    return str(response)


def dial(
    address: str,
    *,
    caller_id: str | None = None,
    action_url: str | None = None,
    timeout: int = 20,
    whisper_url: str | None = None,
) -> str:
    """Connect the caller to a person, and let him hear ringing until they answer.

    Args:
        address: E.164, or a SIP address.
        caller_id: what the person's display shows; one of the account's numbers, or the
            caller's own.
        action_url: asked what to do next when the dialled leg ends; without it the call ends.
        timeout: seconds that the person's phone may ring.
        whisper_url: asked by POST what the person hears before the caller.
    """
    response = VoiceResponse()
    leg: Dial = response.dial(
        answer_on_bridge=True, caller_id=caller_id, action=action_url, timeout=timeout
    )
    noun = leg.sip if address.startswith(("sip:", "sips:")) else leg.number
    noun(address, **({"url": whisper_url, "method": "POST"} if whisper_url else {}))
    return str(response)


def ask(text: str, action_url: str, *, language: str = "en-US") -> str:
    """Tell a person something and take a key or a word for an answer; without one the call ends.

    Args:
        text: what it is about.
        action_url: asked by POST with `Digits` or `SpeechResult`.
        language: of `text`.
    """
    response = VoiceResponse()
    gather = response.gather(
        input="dtmf speech",
        num_digits=1,
        timeout=8,
        speech_timeout="auto",
        hints="yes, no",
        action=action_url,
        method="POST",
    )
    gather.say(text, language=language)
    gather.say("To take the call, press 1 or say yes.", language="en-US")
    response.hangup()
    return str(response)


def meet(room: str, action_url: str | None = None) -> str:
    """Join a call to a conference that ends when one of its members leaves.

    Args:
        room: its name.
        action_url: asked by POST when it has ended; without it the call ends.
    """
    response = VoiceResponse()
    leg: Dial = response.dial(action=action_url)
    leg.conference(room, beep="false", start_conference_on_enter=True, end_conference_on_exit=True)
    return str(response)


def hang_up() -> str:
    """End the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)


def reject_busy() -> str:
    """Refuse the call unanswered and unbilled; the caller hears the busy tone."""
    response = VoiceResponse()
    response.reject(reason="busy")
    return str(response)
