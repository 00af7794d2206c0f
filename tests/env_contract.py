"""What every environment of this kit promises, as tests: a subclass says how to make one, pytest does the rest.

class TestMyEnv(EnvContract):
    def make(self, max_steps=50): return MyEnv(..., max_steps=max_steps)
    def start(self): return {"game": ...}              # reset options that always give the same episode
    def foreign(self): return {"game": "nonsense"}     # reset options that must be refused
"""

import pickle
import random
from abc import ABC, abstractmethod
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from actre.types import ActreError

Moment = tuple[str, dict[str, Any]]


class EnvContract(ABC):
    """Subclass as `Test...`; the tests below are inherited."""

    steps = 12

    @abstractmethod
    def make(self, max_steps: int = 50) -> Any:
        """A fresh environment; made twice, the two draw the same episode from the same seed."""

    @abstractmethod
    def start(self) -> dict[str, Any]:
        """Options for reset that always give the same episode."""

    @abstractmethod
    def foreign(self) -> dict[str, Any]:
        """Options for reset that must be refused."""

    def walk(self, env: Any, seed: int, steps: int | None = None) -> list[tuple[str, float, bool, bool, Any]]:
        """Random admissible steps from where `env` stands, as far as the episode goes."""
        rng = random.Random(seed)
        seen = []
        info = env.restore(env.snapshot())[1]
        for _ in range(self.steps if steps is None else steps):
            answer = env.step(rng.choice(info["admissible_commands"]))
            seen.append(answer)
            if answer[2] or answer[3]:
                break
            info = answer[4]
        return seen

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_gymnasium_finds_nothing_wrong(self) -> None:
        check_env(self.make(), skip_render_check=True)

    def test_info_holds_what_the_glossary_promises(self) -> None:
        env = self.make()
        first = env.reset(options=self.start())
        for text, *_, info in [(*first,), *self.walk(env, 0)]:
            assert isinstance(text, str)
            assert env.observation_space.contains(text)
            assert isinstance(info["admissible_commands"], list)
            assert all(type(a) is str for a in info["admissible_commands"])
            assert len(set(info["admissible_commands"])) == len(info["admissible_commands"])
            assert type(info["won"]) is bool
            assert type(info["task"]) is str
            assert info["task"]
            assert info["task"] in first[0]

    def test_the_same_seed_gives_the_same_episode(self) -> None:
        a, b = self.make(), self.make()
        assert a.reset(seed=7) == b.reset(seed=7)
        assert self.walk(a, 1) == self.walk(b, 1)
        assert a.reset() == b.reset()  # and goes on drawing alike

    def test_two_environments_do_not_touch_each_other(self) -> None:
        alone = self.make()
        alone.reset(options=self.start())
        wanted = self.walk(alone, 2)
        one, other = self.make(), self.make()
        one.reset(options=self.start())
        other.reset(options=self.start())
        rng, seen, info = random.Random(2), [], one.restore(one.snapshot())[1]
        for _ in wanted:
            (answer,) = self.walk(other, 3, steps=1)
            if answer[2] or answer[3]:
                other.reset(options=self.start())
            seen.append(one.step(rng.choice(info["admissible_commands"])))
            info = seen[-1][4]
        assert seen == wanted

    def test_a_snapshot_brings_back_text_admissible_actions_and_all_that_follows(self) -> None:
        env = self.make()
        env.reset(options=self.start())
        answer = self.walk(env, 4, steps=3)[-1]
        moment = env.snapshot()
        wanted = self.walk(env, 5)
        assert env.restore(moment) == (answer[0], answer[4])
        assert self.walk(env, 5) == wanted
        elsewhere = self.make()
        assert elsewhere.restore(pickle.loads(pickle.dumps(moment))) == (answer[0], answer[4])
        assert self.walk(elsewhere, 5) == wanted

    def test_what_the_caller_does_to_info_changes_nothing(self) -> None:
        env = self.make()
        info = env.reset(options=self.start())[1]
        kept = list(info["admissible_commands"])
        info["admissible_commands"].clear()
        assert env.restore(env.snapshot())[1]["admissible_commands"] == kept

    def test_an_episode_is_truncated_at_the_step_limit_and_not_before(self) -> None:
        env = self.make(max_steps=3)
        env.reset(options=self.start())
        answers = [env.step("no such action") for _ in range(3)]
        assert [a[3] for a in answers] == [False, False, True]
        assert not any(a[2] for a in answers)
        assert [a[1] for a in answers] == [0.0, 0.0, 0.0]

    def test_a_step_before_reset_or_after_the_end_is_refused_and_reset_mends_it(self) -> None:
        env = self.make(max_steps=1)
        with pytest.raises(ActreError, match=r"reset\(\)"):
            env.step("look")
        first = env.reset(options=self.start())
        env.step("no such action")
        with pytest.raises(ActreError, match=r"reset\(\)"):
            env.step("no such action")
        assert env.reset(options=self.start()) == first

    @pytest.mark.parametrize("action", [None, 3, b"look", ["look"]])
    def test_an_action_that_is_no_string_is_refused_and_costs_no_step(self, action: Any) -> None:
        env = self.make(max_steps=2)
        env.reset(options=self.start())
        with pytest.raises(ActreError, match="string"):
            env.step(action)
        assert not env.step("no such action")[3]
        assert env.step("no such action")[3]

    def test_foreign_options_are_refused_and_the_episode_goes_on(self) -> None:
        env = self.make()
        text, info = env.reset(options=self.start())
        with pytest.raises(ActreError):
            env.reset(options=self.foreign())
        assert env.restore(env.snapshot()) == (text, info)
        env.step(info["admissible_commands"][0])
        with pytest.raises(ActreError, match="option"):
            env.reset(options={"no such option": 1})

    def test_it_is_a_gymnasium_environment_of_text(self) -> None:
        env = self.make()
        assert isinstance(env, gymnasium.Env)
        assert isinstance(env.observation_space, gymnasium.spaces.Text)
        assert isinstance(env.action_space, gymnasium.spaces.Text)
