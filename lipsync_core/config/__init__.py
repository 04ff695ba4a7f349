"""The config: one model a section, the only place where an option is described.

The models give types, ranges, defaults and descriptions. They generate the JSON schema and
`docs/config.md`, and are what the code receives. Reading a config file: `runtime.config_file`.
Light: the Snakefile imports it.
"""

from lipsync_core.config.corpus import CorpusConfig
from lipsync_core.config.dubbing import DubConfig, DubOptions, VoiceConfig
from lipsync_core.config.evaluation import EvaluateConfig
from lipsync_core.config.pipeline import Config
from lipsync_core.config.preparation import (
    AudioConfig,
    CheckConfig,
    CropConfig,
    DetectConfig,
    SplitConfig,
    SyncConfig,
    TrackConfig,
)
from lipsync_core.config.training import (
    GeneratorConfig,
    GeneratorVariantConfig,
    SyncNetAugment,
    SyncNetConfig,
    TrainingConfig,
)

__all__ = [
    "AudioConfig",
    "CheckConfig",
    "Config",
    "CorpusConfig",
    "CropConfig",
    "DetectConfig",
    "DubConfig",
    "DubOptions",
    "EvaluateConfig",
    "GeneratorConfig",
    "GeneratorVariantConfig",
    "SplitConfig",
    "SyncConfig",
    "SyncNetAugment",
    "SyncNetConfig",
    "TrackConfig",
    "TrainingConfig",
    "VoiceConfig",
]
