"""The dubbings of the config: what each reads, and how its faces are found. Defines no rule."""

from lipsync_core.runtime.files import digest

# Keys that the faces found in a file depend on.
FACE_KEYS = ("face", "checkpoint", "long_side", "resize_factor", "rotate", "crop", "static")


def dub_entry(wildcards) -> dict:
    """The dubbing of the config whose output is asked for."""
    return next(entry for entry in DUBS if entry["output"] == wildcards.dub)


def dub_checkpoint(wildcards) -> str:
    """The generator that a dubbing uses: its own, else the last variant trained."""
    return dub_entry(wildcards)["checkpoint"] or f"{RESULTS}/{VARIANTS[-1]}/checkpoint.pth"


def dub_files(wildcards) -> list:
    """The files a dubbing reads; "auto" means clips of the corpus, which are no extra input."""
    entry = dub_entry(wildcards)
    keys = ("face", "enhancer", "final_audio", "sign_cert", "sign_key")
    files = [entry[key] for key in keys if entry[key] not in ("", "auto")]
    files += [voice["audio"] for voice in entry["voices"]]
    uses_audio = not entry["voices"] and entry["audio"] != "auto"
    return files + ([entry["audio"]] if uses_audio else [])


def dub_corpus(wildcards) -> list:
    """The table of the clips, where a dubbing needs them."""
    return [f"{RESULTS}/filelists/clips.csv"] if needs_corpus(dub_entry(wildcards)) else []


def faces_name(entry) -> str:
    """The name of the table of faces that a dubbing reads: equal for equal faces and settings."""
    own = {key: entry.get(key) for key in FACE_KEYS}
    return digest(own)[:16]


FACES = {faces_name(entry): entry for entry in DUBS if not entry.get("box")}


def dub_faces_table(wildcards) -> list:
    """The table of the faces that a dubbing reads, unless the user gives their place."""
    entry = dub_entry(wildcards)
    return [] if entry.get("box") else [f"{RESULTS}/dub/faces/{faces_name(entry)}.parquet"]


def dub_faces_entry(wildcards) -> dict:
    """A dubbing that reads a table of faces, without what the table does not depend on."""
    entry = FACES[wildcards.faces]
    return {key: entry[key] for key in (*FACE_KEYS, "audio", "smooth") if key in entry}


def dub_face_file(wildcards) -> list:
    """The file whose faces are found; "auto" is a clip of the corpus, which is no extra input."""
    face = FACES[wildcards.faces]["face"]
    return [] if face == "auto" else [face]


def dub_faces_corpus(wildcards) -> list:
    """The table of the clips, where the face is one of theirs."""
    entry = FACES[wildcards.faces]
    return [f"{RESULTS}/filelists/clips.csv"] if entry["face"] == "auto" else []


def dub_faces_checkpoint(wildcards) -> list:
    """The generator of the dubbing, where it is not trained here: how its faces were found."""
    return [path] if (path := FACES[wildcards.faces]["checkpoint"]) else []


def face_settings(wildcards) -> dict:
    """How the faces of the corpus are found and cropped."""
    sections = CONFIG.model_dump(include={"detect", "track", "crop"}, exclude_none=True)
    del sections["detect"]["batch_size"]  # changes nothing
    return sections | {"detector": DETECTOR}


def dub_settings(wildcards) -> dict:
    """How faces to be dubbed are found and cropped, and the network that tells who speaks."""
    return face_settings(wildcards) | {"sync_model": speaker_network()}


def speaker_network() -> str:
    """The network that tells who speaks: that of `sync.model`, a public one, else SyncNet."""
    given = pretrained.sync_model_weights(CONFIG.sync.model)
    public = pretrained.find_weights(pretrained.LSE_WEIGHTS, CONFIG.models)
    return str(given or public or f"{RESULTS}/syncnet/checkpoint.pth")


def dub_speaker_network(wildcards) -> list:
    """The network that tells who speaks, where a dubbing asks for that."""
    entry = dub_entry(wildcards)
    choices = [entry["face_select"], *(voice["face_select"] for voice in entry["voices"])]
    return [speaker_network()] if "speaking" in choices else []
