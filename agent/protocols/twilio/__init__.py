"""Twilio: Media Streams, the webhooks of a call and their signatures, TwiML."""
