"""Supervised fine-tuning of a rewriting policy under Ray Train: workers that share each batch make one and the same step."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ray.train import RunConfig as TrainRun
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer

from cluster.problems import Problems
from rlcompress.config.generating import FineTuningConfig, LanguageConfig, LoraConfig, RewritingTemplateConfig
from rlcompress.config.rewriting_run import BUILTIN, RewritingRun
from rlcompress.data.manifest import Manifest
from rlcompress.errors import UserError
from rlcompress.generation.finetuning import FineTuned, encoded, fine_tune
from rlcompress.generation.loading import load_language
from rlcompress.generation.lora import add_adapter, save_adapter
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.machine.device import choose_device
from rlcompress.problems.pairs import Pair, checked_pairs, pairs_by_rule, pairs_by_teacher, pairs_from_file
