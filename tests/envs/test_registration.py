"""The contract of every registered environment: Gymnasium's checks, specs, seeds, processes, imports."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

import envs
from rlcompress.errors import JudgeUnavailable
from rlcompress.words import Status

IDS = sorted(envs.ENVIRONMENTS)
PROBLEM = "Tom has 80 apples. He buys 110 more. How many has he?"
ARGUMENTS = {
    "rlcompress/TokenMasking-v0": {
        "examples": [{"id": "x", "text": "Only this text here.", "answer": "text"}],
        "judge": "ngram",
    },
    "rlcompress/PromptRewriting-v0": {
        "examples": [{"id": "x", "text": PROBLEM, "answer": "#### 190"}],
        "evaluator": "clauses",
        "reward": {"terms": {"correctness": 1.0}, "gates": ["leak"]},
    },
}

TRAJECTORY = """
import sys
import gymnasium as gym, numpy as np, hashlib
import envs
env = gym.make(sys.argv[1])
digest = hashlib.sha256()
env.action_space.seed(0)
observation, info = env.reset(seed=11)
for t in range(8):
    action = env.action_space.sample() if env.action_space.shape or t % 2 else observation["text"]
    observation, reward, *_ , info = env.step(action)
    digest.update(repr((observation["text"], observation["rate"].tolist(), float(reward), info["text"])).encode())
    observation, _ = env.reset()
print(digest.hexdigest())
assert not {"ray", "torch"} & set(sys.modules), "an environment may import neither Ray nor torch"
"""


@pytest.fixture(params=IDS)
def env_id(request) -> str:
    return str(request.param)


def test_every_registered_id_is_ours_and_registering_again_changes_nothing():
    envs.register_envs()
    assert {name for name in gym.registry if name.startswith("rlcompress/")} == set(IDS)


def test_gymnasiums_checker_passes(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # unbounded priorities are the point: any action is legal
        warnings.filterwarnings("ignore", ".*(infinity|symmetric and normalized).*")
        check_env(gym.make(env_id).unwrapped)


def test_specs_go_through_json(env_id):
    spec = gym.spec(env_id)
    plain = gym.make(EnvSpec.from_json(spec.to_json()))
    assert plain.reset(seed=1)[0] == gym.make(env_id).reset(seed=1)[0]


def test_a_spec_with_arguments_goes_through_json(env_id):
    env = gym.make(env_id, rates=[0.5], **ARGUMENTS[env_id])
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    for copy in (env, again):
        observation, _ = copy.reset(seed=0)
        assert (observation["text"], observation["rate"].tolist()) == (ARGUMENTS[env_id]["examples"][0]["text"], [0.5])
    assert env.action_space == again.action_space


def test_same_seed_same_trajectory_in_two_processes_without_ray_or_torch(env_id):
    runs = [
        subprocess.run([sys.executable, "-W", "ignore", "-c", TRAJECTORY, env_id], capture_output=True, text=True)
        for _ in range(2)
    ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == hashlib.sha256().digest_size * 2


def test_the_vector_form_is_found_by_the_id(env_id):
    vector = gym.make_vec(env_id, num_envs=3, vectorization_mode="vector_entry_point")
    observations, _ = vector.reset(seed=0)
    assert observations in vector.observation_space
    _, rewards_B, terminated_B, truncated_B, infos = vector.step(vector.action_space.sample())
    assert np.isfinite(rewards_B).all()
    assert terminated_B.all()
    assert not truncated_B.any()
    assert set(infos["status"]) == {Status.OK}


def test_no_verdict_is_no_reward_in_any_form(env_id):
    """A judge that fails: NaN and a status, alone and in a vector."""

    class Away:
        version = "away"

        def judge(self, requests):
            raise JudgeUnavailable("no answer within the deadline")

    name = "judge" if "judge" in ARGUMENTS[env_id] else "evaluator"
    arguments = {**ARGUMENTS[env_id], name: Away()}
    single = gym.make(env_id, disable_env_checker=True, **arguments)
    single.reset(seed=0)
    _, reward, *_, info = single.step(single.action_space.sample())
    assert math.isnan(reward)
    vector = gym.make_vec(env_id, num_envs=2, vectorization_mode="vector_entry_point", **arguments)
    vector.reset(seed=0)
    _, rewards_B, *_, infos = vector.step(vector.action_space.sample())
    assert np.isnan(rewards_B).all()
    assert {info["status"], *infos["status"]} == {Status.JUDGE_FAILED}
