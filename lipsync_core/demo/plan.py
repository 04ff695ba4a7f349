"""Plan of the demo corpus: speakers, voices, texts, portraits and splits. Imports nothing heavy.

A clip is a pure function of its DemoClip and does not depend on the number of speakers. Speakers
after the first twelve reuse their portraits with other voices, lights and texts.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, replace

from lipsync_core.demo.sentences import ENGLISH, OTHER, SAMPLE
from lipsync_core.runtime.files import digest

VERSION = 3  # raise it when the same plan gives other frames or audio

NOTICE = (
    "Synthetic demo: speech by eSpeak NG, mouth movement computed. Portraits in the public domain: "
    "Eileen Collins (NASA) and Grace Hopper (US Navy). Neither person said these words."
)


@dataclass(frozen=True)
class Voice:
    """An eSpeak NG voice: `rate` in words a minute, `pitch` and `range` 0 to 100, `volume` 0..1."""

    name: str
    rate: int = 160
    pitch: int = 50
    range: int = 50
    volume: float = 1.0


@dataclass(frozen=True)
class Portrait:
    """How a still is rendered from the two photographs.

    head: whose head, hair and clothes ("collins" or "hopper"). face: fraction of the other one's
    skin texture in the inner face; lower: the same for the mouth region only. shape: how far the
    features move towards the other one's positions (0..1). jaw, nose, eyes, mouth: relative sizes.
    light: (azimuth in degrees, 0 = from the right; elevation; strength 0..1). warmth: color
    temperature, -1 blue to 1 yellow. gain, gamma, saturation: tone. cloth: hue rotation of the
    clothes in degrees. hair: brightness of the hair. backdrop: BGR of a plain studio wall, or None
    for the photograph's own. scale, dx, dy, tilt: framing (1 = standard; pixels; degrees).
    """

    head: str
    mirror: bool = False
    face: float = 0.0
    lower: float = 0.0
    shape: float = 0.0
    jaw: float = 1.0
    nose: float = 1.0
    eyes: float = 1.0
    mouth: float = 1.0
    light: tuple[float, float, float] = (0.0, 30.0, 0.0)
    warmth: float = 0.0
    gain: float = 1.0
    gamma: float = 1.0
    saturation: float = 1.0
    cloth: float = 0.0
    hair: float = 1.0
    backdrop: tuple[int, int, int] | None = None
    scale: float = 1.0
    dx: float = 0.0
    dy: float = 0.0
    tilt: float = 0.0


@dataclass(frozen=True)
class DemoSpeaker:
    id: str  # five digits
    split: str  # train, val or test
    voice: Voice
    portrait: Portrait


@dataclass(frozen=True)
class DemoClip:
    id: str  # "00001/00001"
    speaker: DemoSpeaker
    text: str
    voice: Voice  # the speaker's, unless the text is in another language
    seed: int
    seconds: float | None = None  # cut after so many seconds

    @property
    def split(self) -> str:
        return self.speaker.split

    @property
    def portrait(self) -> Portrait:
        return self.speaker.portrait


_TRAIN, _VAL, _TEST = "train", "val", "test"

# Speakers of val and test have voices, lights and colors that no speaker of train has; every
# portrait recipe occurs once. Voices differ clearly in timbre, pitch and pace.
_CAST: tuple[tuple[str, Voice, Portrait], ...] = (
    (
        _TRAIN,
        Voice("en-us+f2", 154, 52),
        Portrait("collins"),
    ),
    (
        _TRAIN,
        Voice("en-gb-x-rp+f4", 150, 40),
        Portrait("hopper", light=(150, 25, 0.25), dy=-8),
    ),
    (
        _TRAIN,
        Voice("en-us+m3", 152, 42),
        Portrait("hopper", mirror=True, lower=0.65, shape=0.35, jaw=1.06, warmth=-0.35, gain=0.92,
                 saturation=0.75, cloth=160, backdrop=(96, 104, 92), scale=1.05, dx=-5),
    ),
    (
        _TRAIN,
        Voice("en-029+f3", 150, 60),
        Portrait("collins", mirror=True, shape=0.3, jaw=0.95, mouth=1.08, light=(20, 20, 0.45),
                 warmth=0.4, gain=0.88, gamma=1.25, hair=0.55, cloth=200, backdrop=(60, 78, 96),
                 scale=0.95, dx=6),
    ),
    (
        _TRAIN,
        Voice("en-us+m7", 154, 30),
        Portrait("collins", lower=0.6, shape=0.5, jaw=1.07, nose=1.08, light=(200, 15, 0.3),
                 saturation=0.8, hair=0.75, cloth=90, backdrop=(128, 118, 104), scale=1.06, tilt=2),
    ),
    (
        _TRAIN,
        Voice("en-gb-scotland+m2", 155, 36),
        Portrait("hopper", shape=0.45, eyes=1.04, light=(60, 60, 0.35), gamma=1.3, warmth=0.25,
                 backdrop=(70, 58, 52), scale=0.92, dx=-8, tilt=-2),
    ),
    (
        _TRAIN,
        Voice("en-us-nyc+f5", 156, 66),
        Portrait("collins", face=0.3, shape=0.6, mirror=True, nose=0.95, light=(340, 40, 0.3),
                 warmth=-0.3, gain=1.05, cloth=310, hair=1.2, backdrop=(150, 138, 128),
                 scale=1.02, dy=4),
    ),
    (
        _TRAIN,
        Voice("en+m1", 150, 24),
        Portrait("hopper", mirror=True, shape=0.2, jaw=1.1, mouth=1.06, nose=1.06,
                 light=(0, 30, 0.45), saturation=0.55, gamma=0.9, cloth=0, backdrop=(84, 92, 110),
                 scale=1.08, dx=4),
    ),
    (
        _VAL,
        Voice("en-gb-x-gbcwmd+m5", 156, 46),
        Portrait("hopper", lower=0.3, shape=0.3, light=(110, 35, 0.4), warmth=0.55, gain=0.95,
                 saturation=0.9, cloth=60, backdrop=(48, 70, 60), scale=0.98, dx=7),
    ),
    (
        _VAL,
        Voice("en-us+Annie", 162, 58),
        Portrait("collins", shape=0.2, jaw=1.04, mouth=0.96, light=(130, 10, 0.4), warmth=-0.5,
                 gamma=1.15, cloth=240, hair=0.9, backdrop=(120, 92, 80), scale=1.0, dx=-6),
    ),
    (
        _TEST,
        Voice("en-us+belinda", 152, 48),
        Portrait("collins", mirror=True, lower=0.3, shape=0.35, jaw=0.97, eyes=1.04,
                 light=(250, 45, 0.35), warmth=0.2, gain=1.02, saturation=1.1, cloth=140,
                 hair=0.65, backdrop=(88, 108, 92), scale=1.04, dx=3, tilt=-2),
    ),
    (
        _TEST,
        Voice("en-gb-x-gbclan+m4", 166, 34),
        Portrait("hopper", mirror=True, shape=0.4, jaw=0.97, mouth=1.05, light=(300, 15, 0.4),
                 warmth=-0.2, gamma=1.2, gain=1.05, saturation=0.85, cloth=270,
                 backdrop=(112, 112, 124), scale=0.95, tilt=2),
    ),
)  # fmt: skip

# Voices of the speakers after the cast, who are all in train.
_MORE_VOICES: tuple[Voice, ...] = (
    Voice("en-us+f1", 158, 56),
    Voice("en-gb-x-rp+m6", 148, 38),
    Voice("en-us+Alex", 160, 44),
    Voice("en-029+Andrea", 154, 62),
    Voice("en-us+m8", 150, 28),
    Voice("en-gb-scotland+steph", 158, 50),
    Voice("en-us-nyc+Andy", 164, 40),
    Voice("en+shelby", 152, 58),
)
MAX_SPEAKERS = len(_CAST) + len(_MORE_VOICES)
_FIRST_NEW_PAIR = 3 * len(_CAST) + 2  # pairs of sentences from here on are said by those only

# Third clips of these speakers are in another language: same voice variant, other sounds.
_FOREIGN = {1: "es", 4: "de", 6: "it", 8: "fr"}


def plan(
    speakers: int = MAX_SPEAKERS, clips: int = 3, seconds: float | None = None
) -> list[DemoClip]:
    """The clips of a corpus of `speakers` x `clips`, each cut after `seconds` if given."""
    return [_clip(number, index, seconds) for number in range(speakers) for index in range(clips)]


def speaker(number: int) -> DemoSpeaker:
    """Speaker `number` (0 = "00001"); after the cast, a variation of one of its members."""
    split, voice, portrait = _CAST[number % len(_CAST)]
    if number >= len(_CAST):
        rng = random.Random(f"demo speaker {number}")
        voice = _MORE_VOICES[number - len(_CAST)]
        portrait = replace(
            portrait,
            mirror=rng.random() < 0.5,
            shape=rng.uniform(0.0, 0.6),
            jaw=rng.uniform(0.94, 1.08),
            nose=rng.uniform(0.95, 1.06),
            mouth=rng.uniform(0.95, 1.07),
            light=(rng.uniform(0, 360), rng.uniform(10, 60), rng.uniform(0.15, 0.45)),
            warmth=rng.uniform(-0.5, 0.5),
            gamma=rng.uniform(0.9, 1.3),
            saturation=rng.uniform(0.6, 1.1),
            cloth=rng.uniform(0, 360),
            backdrop=tuple(rng.randint(50, 150) for _ in range(3)),
            scale=rng.uniform(0.92, 1.08),
            tilt=rng.uniform(-2, 2),
        )
    return DemoSpeaker(f"{number + 1:05d}", split, voice, portrait)


def _clip(number: int, index: int, seconds: float | None) -> DemoClip:
    spoken_by = speaker(number)
    voice, text = spoken_by.voice, _english(number, index)
    language = _FOREIGN.get(number)
    if language is not None and index == 2:
        _, _, variant = spoken_by.voice.name.partition("+")
        voice = replace(spoken_by.voice, name=f"{language}+{variant}")
        text = OTHER[language][0]
    return DemoClip(
        id=f"{spoken_by.id}/{index + 1:05d}",
        speaker=spoken_by,
        text=text,
        voice=voice,
        seed=1 + 1000 * number + index,
        seconds=seconds,
    )


def _english(number: int, index: int) -> str:
    """Two sentences; the clips of `plan()` share none, later ones are new combinations."""
    extra = number - len(_CAST)
    lap, pair = divmod(number + (12 * index if index < 3 else 36 + 12 * index), len(ENGLISH) // 2)
    if extra >= 0 and index < 3:
        lap, pair = 0, _FIRST_NEW_PAIR + 3 * extra + index
    first, second = 2 * pair, (2 * pair + 1 + 2 * lap) % len(ENGLISH)
    return f"{ENGLISH[first]} {ENGLISH[second]}"


def sample() -> tuple[DemoSpeaker, Voice, str]:
    """The dubbing example: a test speaker, and a voice and text that no clip has."""
    return speaker(10), Voice("en-us+linda", 158, 50), SAMPLE


def signature(clip: DemoClip) -> str:
    """SHA-1 of everything that determines the content of `clip`."""
    return digest({"version": VERSION, "clip": asdict(clip)})
