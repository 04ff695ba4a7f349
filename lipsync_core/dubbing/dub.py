"""Dub a face: write a video whose lips follow a given audio.

Faces are found in a first pass over scaled-down frames, whose boxes are kept; in the second pass
the result is written (see `writing`). All that can be wrong in what is given is seen before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipsync_core.config import DubOptions
from lipsync_core.dubbing import face_choice, faces, inputs, label, sounds
from lipsync_core.dubbing.compositor import seen_from
from lipsync_core.dubbing.enhancer import Enhancer
from lipsync_core.dubbing.face_choice import FacePath
from lipsync_core.dubbing.generators import load_generator
from lipsync_core.dubbing.geometry import Geometry
from lipsync_core.dubbing.schedule import Schedule
from lipsync_core.dubbing.source import FaceSource
from lipsync_core.dubbing.writing import Dubbing, DubStats
from lipsync_core.faces.detection import Detections, read_boxes
from lipsync_core.runtime.files import PathLike
from lipsync_core.runtime.progress import OnProgress


def dub(
    face: PathLike,
    audio: PathLike | Mapping[str, PathLike],
    checkpoint: PathLike,
    outfile: PathLike = "results/result_voice.mp4",
    *,
    detector: str | None = None,
    device: str = "auto",
    models: PathLike = "models",
    settings: faces.FaceSettings | None = None,
    faces_dir: PathLike | None = None,
    boxes: PathLike | None = None,
    on_progress: OnProgress | None = None,
    on_faces: OnProgress | None = None,
    **options: Any,
) -> DubStats:
    """Write `outfile`: the video or picture `face` with lips that follow `audio`.

    Every frame of a video keeps its own time; the result is as long as the audio, within half a
    frame. Frames without the face, other people and all that lies outside of the mask stay as they
    are. The same inputs give the same frames.

    Parameters
    ----------
    face: a still picture or a video, told apart by content.
    audio: any file with audio (of a video, its audio track); or several: what `face_select` takes
        -> the file that this face speaks. They are mixed in the result.
    checkpoint: a Wav2Lip generator, or its export to ONNX.
    outfile: an MP4 file; written whole or not at all.
    detector, device, models: as `faces.detectors.build` and `device.pick` take them; detector None:
        that of `settings`.
    settings: how faces are found; by default as in the model card beside the checkpoint.
    faces_dir: folder of the faces found before; by default the user's cache.
    boxes: a file of faces found before (`faces.find_faces`), which are then not looked for.
    on_progress: is called with the number of frames written and to be written, after each; an
        exception in it cancels the dubbing.
    on_faces: likewise, while faces are looked for.
    options: the fields of `config.DubOptions`.

    Raises LipsyncError (file, reason, remedy) for unusable inputs and when no frame has a face.
    """
    chosen = inputs.checked_options(options)
    given = dict(audio) if isinstance(audio, Mapping) else {chosen.face_select: audio}
    face, checkpoint = inputs.input_file(face, "face"), inputs.input_file(checkpoint, "checkpoint")
    voices = {key: inputs.input_file(path, "audio") for key, path in given.items()}
    if chosen.final_audio:
        inputs.input_file(chosen.final_audio, "final_audio")
    for choice in given:
        face_choice.check(choice)
    outfile = inputs.output_file(outfile, (face, checkpoint, *voices.values()))
    signing = inputs.signing_key(chosen, outfile)
    settings = (settings or faces.FaceSettings.of_checkpoint(checkpoint)).changed(chosen, detector)
    finder = Finder(settings, device, models, faces_dir, boxes, on_faces)
    heard = list(voices.values())
    spoken = [sounds.read_voice(path, chosen.silence == "rest") for path in heard]
    enhancer = Enhancer(chosen.enhancer) if chosen.enhancer else None
    seen = seen_from(chosen.blend, bool(chosen.enhancer))
    generator = load_generator(checkpoint, device, chosen.precision, chosen.batch_size, seen)
    with sounds.heard(heard, chosen.final_audio) as sound:
        source = FaceSource(
            face, Geometry.of_entry(dict(chosen)), chosen.static, chosen.start, chosen.end
        )
        longest = max(voice.seconds for voice in spoken)
        seconds = sounds.length_of(sound) if chosen.final_audio else longest
        schedule = Schedule(source, chosen, sound, seconds)
        mark = (
            label.prepare_label(chosen.label, *source.size, source.color.full_range)
            if chosen.label
            else None
        )
        dubbing = Dubbing(
            schedule, spoken, generator, outfile, enhancer, mark, signing, on_progress
        )
        paths = finder.paths(source, chosen, list(voices))
        return dubbing.write(paths, checkpoint, heard)


@dataclass(frozen=True)
class Finder:
    """Finds the faces of a source; see `dub` for its fields."""

    settings: faces.FaceSettings
    device: str
    models: PathLike
    faces_dir: PathLike | None
    boxes: PathLike | None
    on_faces: OnProgress | None = None

    def paths(
        self, source: FaceSource, options: DubOptions, choices: Sequence[str]
    ) -> list[FacePath]:
        """The path of the face that each choice names."""
        if options.box is not None:
            return [face_choice.user_path(options.box, source.size, source.path)] * len(choices)
        folder = self.faces_dir or faces.cache_folder()
        key = self.settings.key(source.path, source.geometry, source.static, self.models)
        chooser = face_choice.FaceChooser(
            source.path,
            read_boxes(self.boxes) if self.boxes is not None else self._found(source, options),
            self.settings,
            source.geometry.unchanged,
            self.device,
            self.models,
            Path(folder) / f"{key}.json",
        )
        return [chooser.face_path(choice) for choice in choices]

    def _found(self, source: FaceSource, options: DubOptions) -> Detections:
        return faces.kept_faces(
            source.path,
            self.settings,
            self.faces_dir or faces.cache_folder(),
            self.models,
            source.geometry,
            source.static,
            device=self.device,
            batch_size=options.face_det_batch_size,
            on_progress=self.on_faces,
        )
