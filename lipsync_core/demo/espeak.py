"""Synthesize one utterance with eSpeak NG: a JSON request on stdin, JSON and raw PCM on stdout.

Runs as a program of its own: eSpeak keeps state between utterances, even across espeak_Terminate,
and seeds its noise with the time of day. A process for each utterance (30 ms) and a fixed seed make
the audio a pure function of the request. Needs the standard library and espeakng-loader only.
"""

from __future__ import annotations

import ctypes
import json
import sys

SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
PHONEME_EVENTS, PHONEME_IPA = 1, 2  # espeakINITIALIZE_*
EVENT_END, EVENT_PHONEME = 0, 7
RATE, PITCH, PITCH_RANGE = 1, 3, 4  # espeak_PARAMETER
UTF8 = 1
SEED = 1  # of the noise in breath and fricatives; eSpeak's own default is the time of day


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_void_p), ("text", ctypes.c_byte * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


def speak(request: dict) -> tuple[int, list[list], bytes]:
    """Synthesize request["text"] with "voice", "rate" (words a minute), "pitch", "range" (0..100).

    Returns (sample rate, [[milliseconds, IPA symbol], ...], int16 mono PCM). An empty symbol is a
    pause or an omitted phoneme. Raises OSError when the library or the voice is missing.
    """
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, data, PHONEME_EVENTS | PHONEME_IPA)
    if rate <= 0:
        raise OSError(f"eSpeak NG did not start with the voices in {data.decode()}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
    pcm = bytearray()
    phonemes: list[list] = []

    def receive(samples, count, events) -> int:
        if samples and count > 0:
            pcm.extend(ctypes.string_at(samples, 2 * count))
        index = 0
        while events[index].type != EVENT_END:
            if events[index].type == EVENT_PHONEME:
                name = bytes(bytearray(value & 0xFF for value in events[index].id.text))
                symbol = name.split(b"\0")[0].decode("utf-8", "replace")
                phonemes.append([events[index].audio_position, symbol])
            index += 1
        return 0

    callback = _CALLBACK(receive)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        raise OSError(f"eSpeak NG has no voice {request['voice']}")
    for parameter, key in ((RATE, "rate"), (PITCH, "pitch"), (PITCH_RANGE, "range")):
        library.espeak_SetParameter(parameter, int(request[key]), 0)
    text = request["text"].encode()
    library.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)
    library.espeak_Synchronize()
    return rate, phonemes, bytes(pcm)


def main() -> int:
    try:
        rate, phonemes, pcm = speak(json.load(sys.stdin))
    except (OSError, ImportError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    head = json.dumps({"rate": rate, "phonemes": phonemes}).encode()
    sys.stdout.buffer.write(head + b"\n" + pcm)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
