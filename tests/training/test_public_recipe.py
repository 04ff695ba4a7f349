"""The preset `full` trains generators by the public recipe: the same losses as ever."""

import pytest
import torch
import yaml

from lipsync_core.data.dataset import ClipDataset
from lipsync_core.models import QualityDiscriminator, SyncNet, Wav2Lip
from lipsync_core.runtime import config_file
from lipsync_core.training.generator import GeneratorTask
from tests.support.training import small_corpus

pytestmark = pytest.mark.usefixtures("one_thread")
# Two steps at public size with seed 0, computed before there was any other recipe.
GOLDEN = [
    {
        "train_l1": 0.180303,
        "train_sync_loss": 0.920630,
        "train_adv_loss": 0.690847,
        "train_loss": 0.238251,
        "train_disc_real": 0.690847,
        "train_disc_fake": 0.695453,
    },
    {
        "train_l1": 0.130850,
        "train_sync_loss": 0.896781,
        "train_adv_loss": 0.694843,
        "train_loss": 0.193308,
        "train_disc_real": 0.694843,
        "train_disc_fake": 0.691454,
    },
]


def test_the_preset_full_has_the_losses_of_the_public_recipe(root, tmp_path):
    main = yaml.safe_load((root / "config/config.yaml").read_text())
    config = config_file.load(main | {"preset": "full"}, root / "config/presets")
    given = config.generator.variant("wav2lip_gan")
    assert (given.sync_weight, given.adv_weight, given.sync_threshold) == (0.03, 0.07, 0.75)
    given = given.model_copy(update={"batch_size": 2, "ema_decay": 0, "precision": "float32"})
    results = small_corpus(tmp_path)
    torch.manual_seed(0)
    corpora = (ClipDataset.load(results, split) for split in ("train", "val"))
    networks = Wav2Lip(), SyncNet(), QualityDiscriminator()
    task = GeneratorTask("wav2lip_gan", *networks, *corpora, given, 0, torch.device("cpu"))
    task._measure_start = lambda: None  # 64 windows at public size take long
    task.extra_state["sync_weight"] = given.sync_weight
    for step, wanted in enumerate(GOLDEN):
        found = task.step(step, task.batch(step))
        assert {name: found[name].item() for name in wanted} == pytest.approx(wanted, abs=2e-5)
