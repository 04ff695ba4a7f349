import argparse
import pickle
import resource

import pytest
import torch
from torch import nn

from lipsync_core import checkpoints
from lipsync_core.checkpoints import build_from, load_weights, read_checkpoint, save_public
from lipsync_core.errors import LipsyncError
from lipsync_core.models import LseSyncNet, QualityDiscriminator, SyncNet, Wav2Lip
from tests.support.golden_recipe import spec

TINY = 1 / 16


def tiny(seed: int = 0, **sizes) -> SyncNet:
    torch.manual_seed(seed)
    return SyncNet(**{"width": TINY, **sizes})


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[n], theirs[n]) for n in ours)


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_public_files_load(tmp_path, prefix, bare, zipped):
    saved = tiny(seed=1)
    state = {prefix + name: tensor for name, tensor in saved.state_dict().items()}
    content = state if bare else {"state_dict": state, "optimizer": None, "global_step": 3}
    path = tmp_path / "syncnet.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    model = tiny()
    assert load_weights(model, path) == []
    assert same(model, saved)


def test_files_older_than_the_batch_counter_load(tmp_path):
    saved = tiny(seed=1)
    state = {n: t for n, t in saved.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    model = tiny()
    assert load_weights(model, tmp_path / "old.pth") == []
    assert same(model, saved)


def test_saved_files_have_the_public_format(tmp_path):
    model = tiny()
    optimizer = torch.optim.Adam(model.parameters())
    path = tmp_path / "deep" / "checkpoint.pth"
    save_public(path, nn.DataParallel(model), optimizer, step=7)
    content = read_checkpoint(path)
    assert list(content) == ["state_dict", "optimizer", "global_step", "global_epoch"]
    assert (content["global_step"], content["global_epoch"]) == (7, 0)
    assert list(content["state_dict"]) == list(model.state_dict())
    optimizer.load_state_dict(content["optimizer"])
    save_public(path, model)
    assert read_checkpoint(path)["optimizer"] is None
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pth"]


def test_equal_content_gives_equal_bytes(tmp_path):
    save_public(tmp_path / "one.pth", tiny(), step=1)
    save_public(tmp_path / "another name.pth", tiny(), step=1)
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "another name.pth").read_bytes()


def test_a_file_that_finds_no_room_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.pth"
    save_public(path, SyncNet(width=0.0625))
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(LipsyncError, match=r"a\.pth: cannot be written \(.*make room"):
            save_public(path, SyncNet(width=0.0625))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["syncnet", "wav2lip", "discriminator"])
def test_files_go_to_the_public_code_and_back(tmp_path, name):
    """Names, order, shapes and kinds of the tensors are those that the public code writes."""
    cls = {"syncnet": SyncNet, "wav2lip": Wav2Lip, "discriminator": QualityDiscriminator}[name]
    written, path = cls(), tmp_path / "ours.pth"
    save_public(path, written, step=5)
    # As their scripts read it, but for the refusal to run code.
    content = torch.load(path, map_location="cpu", weights_only=True)
    assert (content["optimizer"], content["global_step"], content["global_epoch"]) == (None, 5, 0)
    rows = [
        [key, list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]
        for key, tensor in content["state_dict"].items()
    ]
    assert rows == spec()[name]
    theirs = {
        f"module.{key}": torch.full(shape, 2, dtype=getattr(torch, kind))
        for key, shape, kind in spec()[name]
    }
    optimizer = {"state": {}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    torch.save({"state_dict": theirs, "optimizer": optimizer, "global_step": 1}, path)
    assert load_weights(written, path) == []
    assert all((tensor == 2).all() for tensor in written.state_dict().values())
    assert build_from(path, cls).width == 1


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o, 2))])
def test_pickled_code_is_refused_and_not_run(tmp_path, save):
    mark, path = tmp_path / "mark", tmp_path / "evil.pth"
    save({"state_dict": tiny().state_dict(), "extra": Evil(mark)}, path)
    with pytest.raises(LipsyncError, match=r"evil\.pth: refused.*torch\.save its state_dict alone"):
        load_weights(tiny(), path)
    assert not mark.exists()


def test_a_refusal_names_the_object(tmp_path):
    path = tmp_path / "args.pth"
    torch.save({"state_dict": {}, "args": argparse.Namespace(lr=1)}, path)
    with pytest.raises(LipsyncError, match=r"refused.*\(argparse\.Namespace\)"):
        read_checkpoint(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused(tmp_path):
    path = tmp_path / "wav2lip_gan.pth"
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), path)
    with pytest.raises(LipsyncError, match=r"TorchScript archive.*jit\.load\(path\)\.state_dict"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"<!DOCTYPE html><html>", "not a torch file .a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "not a torch file"),
        (b"", "damaged or truncated .EOFError"),
    ],
)
def test_other_files_are_told_apart(tmp_path, content, reason):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(LipsyncError, match=f"file.pth: .*{reason}.*again"):
        read_checkpoint(path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.99])
def test_truncated_files_are_damaged(tmp_path, zipped, kept):
    path = tmp_path / "cut.pth"
    torch.save({"w": torch.zeros(9999)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(LipsyncError, match=r"cut\.pth: damaged or truncated"):
        read_checkpoint(path)


def test_missing_and_unreadable_files(tmp_path, monkeypatch):
    with pytest.raises(LipsyncError, match=r"gone\.pth: no such checkpoint"):
        load_weights(tiny(), tmp_path / "gone.pth")

    def forbidden(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    save_public(tmp_path / "locked.pth", tiny())
    monkeypatch.setattr(torch, "load", forbidden)
    with pytest.raises(LipsyncError, match=r"locked\.pth: no permission"):
        read_checkpoint(tmp_path / "locked.pth")


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {}}, {"model": {"w": 1}}, 3])
def test_files_without_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(LipsyncError, match=r"odd\.pth: holds no state dict"):
        checkpoints.read_state(tmp_path / "odd.pth")


def test_a_misfit_names_tensors_and_the_sizes_of_the_file(tmp_path):
    save_public(tmp_path / "wide.pth", tiny(width=0.125, image_size=192))
    with pytest.raises(LipsyncError) as caught:
        load_weights(tiny(), tmp_path / "wide.pth")
    message = str(caught.value)
    assert "does not fit SyncNet of width 0.0625, image_size 96" in message
    assert "face_encoder.3.conv_block.0.weight" not in message  # the first few only
    assert "face_encoder.4.conv_block.0.weight (file 16x8x3x3, network 8x8x3x3)" in message
    assert "the file is a SyncNet of width 0.125, image_size 192: set these sizes" in message


def test_a_misfit_with_another_network_or_with_strangers(tmp_path):
    save_public(tmp_path / "disc.pth", QualityDiscriminator(TINY))
    with pytest.raises(LipsyncError, match="give a checkpoint of this network"):
        load_weights(tiny(), tmp_path / "disc.pth")
    torch.save({**tiny().state_dict(), "ema": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(LipsyncError, match=r"ema \(file 1, network none\); save the network's own"):
        load_weights(tiny(), tmp_path / "more.pth")
    assert load_weights(tiny(), tmp_path / "more.pth", strict=False) == ["ema"]
    with pytest.raises(LipsyncError, match=r"does not fit Linear; .*give a checkpoint"):
        load_weights(nn.Linear(1, 1), tmp_path / "more.pth", strict=False)


def test_a_public_checkpoint_warm_starts_a_larger_network(tmp_path):
    saved = Wav2Lip(TINY)
    save_public(tmp_path / "small.pth", saved)
    model = Wav2Lip(TINY, image_size=192)
    rest = load_weights(model, tmp_path / "small.pth", strict=False)
    assert {name.split(".")[0] for name in rest} == {"face_downscale_blocks", "face_upscale_blocks"}
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in saved.state_dict().items())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Wav2Lip(TINY), "give a checkpoint of this network"),  # whose first layers would fit
        (SyncNet(2 * TINY), "the file is a SyncNet of width 0.125"),
    ],
)
def test_a_start_from_hardly_any_tensors_is_none(tmp_path, given, words):
    save_public(tmp_path / "other.pth", given)
    before = {name: tensor.clone() for name, tensor in tiny().state_dict().items()}
    model = tiny()
    with pytest.raises(LipsyncError, match=words):
        load_weights(model, tmp_path / "other.pth", strict=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("width", [1 / 64, 0.1, 0.3, 0.375])
@pytest.mark.parametrize("cls", [SyncNet, Wav2Lip, QualityDiscriminator])
def test_sizes_are_read_from_the_tensors(cls, width):
    for image_size in (96, 192, 288, 384):
        with torch.device("meta"):
            state = cls(width, image_size).state_dict()
            sizes = checkpoints.infer_sizes(state, cls)
            rebuilt = cls(**sizes).state_dict()
        assert sizes["image_size"] == image_size
        assert {n: t.shape for n, t in rebuilt.items()} == {n: t.shape for n, t in state.items()}
        if width * 64 == int(width * 64):
            assert sizes["width"] == width


def test_build_from_restores_the_network(tmp_path):
    saved = tiny(seed=3, width=0.125, image_size=288)
    save_public(tmp_path / "syncnet.pth", saved)
    model = build_from(tmp_path / "syncnet.pth", SyncNet)
    assert (model.width, model.image_size, model.training) == (0.125, 288, False)
    assert same(model, saved)


def test_build_from_a_network_of_one_size(tmp_path):
    saved = LseSyncNet()
    torch.save(saved.state_dict(), tmp_path / "syncnet_v2.model")
    assert same(build_from(tmp_path / "syncnet_v2.model", LseSyncNet), saved)


def test_build_from_refuses_what_no_size_gives(tmp_path):
    path = tmp_path / "syncnet.pth"

    def refused(state: dict, cls=SyncNet) -> str:
        torch.save(state, path)
        with pytest.raises(LipsyncError, match=r"syncnet\.pth: .*give a checkpoint of") as caught:
            build_from(path, cls)
        return str(caught.value)

    state = tiny().state_dict()
    assert "holds no layer of SyncNet" in refused({"w": torch.zeros(1)})
    assert "lacks" in refused(Wav2Lip(TINY).state_dict())  # the audio encoders share names
    assert "lacks 102 of the 102" not in refused({"netcnnaud.0.bias": torch.ones(64)}, LseSyncNet)
    crooked = dict(state)
    crooked["audio_encoder.3.conv_block.0.weight"] = torch.zeros(8, 8, 5, 5)
    assert "audio_encoder.3.conv_block.0.weight is (8, 8, 5, 5), in SyncNet of" in refused(crooked)
    strange = state | {"face_downscale_blocks.0.0.conv_block.0.weight": torch.zeros(8, 8, 7, 7)}
    assert "no image_size has downscale blocks with kernels [7]" in refused(strange)
