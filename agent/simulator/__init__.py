"""Stand-ins for the two outer worlds: Gemini Live on one side, Twilio and a caller on the other."""
