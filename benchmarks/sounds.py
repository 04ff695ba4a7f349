"""Sounds that are no speech, made with NumPy: tones, noise, music of several styles, babble.

Every function gives float32 (n,) at 16 kHz, peak 0.5, and the same samples for the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

RATE = 16_000
MAJOR = (0, 2, 4, 5, 7, 9, 11)
CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))  # I vi IV V
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))  # Hz
Sound = Callable[[float, int], np.ndarray]


def normalized(wave: np.ndarray, peak: float = 0.5) -> np.ndarray:
    """The wave at this peak."""
    return (wave * (peak / max(float(np.abs(wave).max(initial=0)), 1e-9))).astype(np.float32)


def _time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


def _hertz(semitones: float, root: float = 220.0) -> float:
    return root * 2 ** (semitones / 12)


def _note(hertz: float, seconds: float, decay: float, harmonics: int = 8) -> np.ndarray:
    """A struck string: harmonics that fade, the higher ones faster."""
    time, wave = _time(seconds), np.zeros(round(seconds * RATE))
    for number in range(1, harmonics + 1):
        if number * hertz < RATE / 2:
            fade = np.exp(-decay * number**0.5 * time)
            wave += fade * np.sin(2 * np.pi * number * hertz * time) / number
    return wave * np.minimum(1, time / 0.004)


def _place(wave: np.ndarray, part: np.ndarray, seconds: float) -> None:
    start = round(seconds * RATE)
    length = min(len(part), len(wave) - start)
    if length > 0:
        wave[start : start + length] += part[:length]


def tone(seconds: float, seed: int = 0) -> np.ndarray:
    """One sine, 150 to 1,500 Hz."""
    hertz = np.random.default_rng(seed).uniform(150, 1500)
    return normalized(np.sin(2 * np.pi * hertz * _time(seconds)))


def beeps(seconds: float, seed: int = 0) -> np.ndarray:
    """Sines of a quarter of a second with pauses."""
    rng, wave = np.random.default_rng(seed), np.zeros(round(seconds * RATE))
    for start in np.arange(0, seconds, 0.4):
        beep = np.sin(2 * np.pi * rng.uniform(300, 2500) * _time(0.25)) * np.hanning(4000)
        _place(wave, beep, float(start))
    return normalized(wave)


def sweep(seconds: float, seed: int = 0) -> np.ndarray:
    """A siren: a sawtooth that goes up and down between 400 and 1,200 Hz."""
    time = _time(seconds)
    hertz = 800 + 400 * np.sin(2 * np.pi * (0.3 + 0.1 * seed) * time)
    phase = np.cumsum(hertz) / RATE
    return normalized(2 * (phase % 1) - 1)


def white_noise(seconds: float, seed: int = 0) -> np.ndarray:
    """White noise."""
    return normalized(np.random.default_rng(seed).standard_normal(round(seconds * RATE)))


def pink_noise(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise with -3 dB an octave."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(round(seconds * RATE)))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    return normalized(np.fft.irfft(spectrum, round(seconds * RATE)))


def traffic(seconds: float, seed: int = 0) -> np.ndarray:
    """Low noise that swells and fades, with a horn now and then."""
    rng, time = np.random.default_rng(seed), _time(seconds)
    low = lfilter([1], [1, -0.98], rng.standard_normal(len(time)))
    wave = low * (1 + 0.8 * np.sin(2 * np.pi * 0.15 * time + rng.uniform(0, 6)))
    wave /= np.abs(wave).max()
    for start in np.arange(1.0, seconds, 3.1):
        _place(wave, 0.3 * (_note(440, 0.5, 0.5) + _note(554, 0.5, 0.5)), float(start))
    return normalized(wave)


def piano(seconds: float, seed: int = 0) -> np.ndarray:
    """Chords of a struck instrument under a melody."""
    rng, wave = np.random.default_rng(seed), np.zeros(round(seconds * RATE))
    for index, start in enumerate(np.arange(0, seconds, 1.2)):
        for step in CHORDS[index % 4]:
            _place(wave, 0.5 * _note(_hertz(step - 12), 1.6, 2.0), float(start))
    for start in np.arange(0, seconds, 0.3):
        _place(wave, _note(_hertz(rng.choice(MAJOR) + 12), 0.6, 4.0), float(start))
    return normalized(wave)


def guitar(seconds: float, seed: int = 0) -> np.ndarray:
    """Plucked strings (Karplus & Strong, 1983): broken chords."""
    rng, wave = np.random.default_rng(seed), np.zeros(round(seconds * RATE))
    for index, start in enumerate(np.arange(0, seconds, 0.2)):
        chord = CHORDS[(index // 8) % 4]
        period = round(RATE / _hertz(chord[index % 3] - 12))
        burst = np.zeros(round(1.2 * RATE))
        burst[:period] = rng.uniform(-1, 1, period)
        feedback = np.zeros(period + 2)
        feedback[0], feedback[period], feedback[period + 1] = 1, -0.498, -0.498
        _place(wave, lfilter([1], feedback, burst), float(start))
    return normalized(wave)


def pad(seconds: float, seed: int = 0) -> np.ndarray:
    """A synthesizer pad: detuned sawtooths with slow filters and tremolo."""
    rng, time = np.random.default_rng(seed), _time(seconds)
    wave = np.zeros(len(time))
    chord_number = (time // 2).astype(int) % 4
    for voice in range(3):
        hertz = np.array([_hertz(chord[voice]) for chord in CHORDS])[chord_number]
        for detune in rng.uniform(-0.006, 0.006, 3):
            wave += 2 * ((np.cumsum(hertz * (1 + detune)) / RATE + rng.uniform()) % 1) - 1
    wave = lfilter([0.1], [1, -0.9], wave)
    return normalized(wave * (1 + 0.3 * np.sin(2 * np.pi * 0.5 * time)))


def drums(seconds: float, seed: int = 0) -> np.ndarray:
    """Kick, snare and hi-hat at 110 beats a minute."""
    rng, wave = np.random.default_rng(seed), np.zeros(round(seconds * RATE))
    time = _time(0.25)
    kick = np.sin(2 * np.pi * (50 * time + 12 * (1 - np.exp(-30 * time)))) * np.exp(-15 * time)
    for index, start in enumerate(np.arange(0, seconds, 60 / 110 / 2)):
        hat = rng.standard_normal(len(time)) * np.exp(-60 * time)
        _place(wave, 0.3 * np.diff(hat, prepend=0), float(start))
        if index % 4 == 0:
            _place(wave, kick, float(start))
        if index % 4 == 2:
            snare = rng.standard_normal(len(time)) * np.exp(-18 * time)
            _place(wave, 0.5 * snare + 0.5 * _note(185, 0.25, 15, 3), float(start))
    return normalized(wave)


def flute(seconds: float, seed: int = 0) -> np.ndarray:
    """A melody with vibrato and breath."""
    rng, wave = np.random.default_rng(seed), np.zeros(round(seconds * RATE))
    start = 0.0
    while start < seconds:
        length = float(rng.choice([0.25, 0.5, 0.75]))
        time = _time(length)
        hertz = _hertz(rng.choice(MAJOR) + 12) * (1 + 0.006 * np.sin(2 * np.pi * 5.5 * time))
        phase = 2 * np.pi * np.cumsum(hertz) / RATE
        part = np.sin(phase) + 0.3 * np.sin(2 * phase) + 0.1 * np.sin(3 * phase)
        part += 0.03 * rng.standard_normal(len(time))
        _place(wave, part * np.minimum(1, np.minimum(time, time[::-1]) / 0.04), start)
        start += length
    return normalized(wave)


def formant_melody(seconds: float, seed: int = 0) -> np.ndarray:
    """A "vocal" synthesizer: sung vowels of a sawtooth through three formants, with vibrato."""
    rng, parts = np.random.default_rng(seed), []
    while sum(map(len, parts)) < seconds * RATE:
        time = _time(float(rng.choice([0.4, 0.8])))
        hertz = _hertz(rng.choice(MAJOR)) * (1 + 0.012 * np.sin(2 * np.pi * 5.5 * time))
        source = 2 * ((np.cumsum(hertz) / RATE) % 1) - 1
        voice = np.zeros(len(time))
        for formant, gain in zip(VOWELS[rng.integers(len(VOWELS))], (1, 0.6, 0.3), strict=True):
            voice += gain * _resonator(source, formant, 90)
        parts.append(voice * np.minimum(1, np.minimum(time, time[::-1]) / 0.05))
    return normalized(np.concatenate(parts)[: round(seconds * RATE)])


def _resonator(wave: np.ndarray, hertz: float, bandwidth: float) -> np.ndarray:
    radius = np.exp(-np.pi * bandwidth / RATE)
    poles = [1, -2 * radius * np.cos(2 * np.pi * hertz / RATE), radius**2]
    return lfilter([1 - radius], poles, wave)


def band(seconds: float, seed: int = 0) -> np.ndarray:
    """Drums, bass, distorted chords and a lead together."""
    bass = np.zeros(round(seconds * RATE))
    for index, start in enumerate(np.arange(0, seconds, 0.27)):
        _place(bass, _note(_hertz(CHORDS[(index // 8) % 4][0] - 24), 0.3, 3), float(start))
    chords = np.tanh(6 * pad(seconds, seed))
    parts = (drums(seconds, seed), normalized(bass), 0.3 * normalized(chords), flute(seconds, seed))
    return normalized(sum(parts))


def babble(
    voices: Sequence[np.ndarray], seconds: float, seed: int = 0, count: int = 8
) -> np.ndarray:
    """`count` of the voices at once, at equal loudness, each looped from a random place."""
    rng, wave = np.random.default_rng(seed), np.zeros(round(seconds * RATE))
    for number in rng.choice(len(voices), count, replace=False):
        voice = np.asarray(voices[number], np.float64)
        voice = np.roll(voice / np.sqrt(np.mean(voice**2)), int(rng.integers(len(voice))))
        wave += np.resize(voice, len(wave))
    return normalized(wave)


TONES_AND_NOISE: dict[str, Sound] = {
    each.__name__: each for each in (tone, beeps, sweep, white_noise, pink_noise, traffic)
}
MUSIC: dict[str, Sound] = {
    each.__name__: each for each in (piano, guitar, pad, drums, flute, formant_melody, band)
}


def mix(wave: np.ndarray, noise: np.ndarray, decibels: float) -> np.ndarray:
    """The wave with noise so many decibels below it; a short noise is repeated."""
    noise = np.resize(noise, len(wave))
    ratio = np.sqrt(np.mean(wave**2) / max(float(np.mean(noise**2)), 1e-12))
    return normalized(wave + noise * ratio * 10 ** (-decibels / 20))


def telephone(wave: np.ndarray) -> np.ndarray:
    """300 to 3,400 Hz and five bits of mu-law."""
    narrow = normalized(sosfilt(butter(4, (300, 3400), "bandpass", fs=RATE, output="sos"), wave), 1)
    compressed = np.round(np.log1p(255 * np.abs(narrow)) / np.log(256) * 16) / 16
    return normalized(np.sign(narrow) * (256**compressed - 1) / 255)


def hall(wave: np.ndarray, seed: int = 0) -> np.ndarray:
    """A reverberation of 0.7 s, louder than the direct sound."""
    response = np.random.default_rng(seed).standard_normal(RATE // 2)
    response *= np.exp(-10 * _time(0.5))
    response[0] = 4
    return normalized(fftconvolve(wave, response)[: len(wave)])
