"""An OpenEnv server with the worlds answers its own client over HTTP and WebSocket on the loopback address."""

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from hostile_actions import actions

openenv = pytest.importorskip("openenv", reason="openenv is not installed: pip install openenv (tested with 0.10.0)")
uvicorn = pytest.importorskip("uvicorn")

from actre.envs.alfworld import list_games  # noqa: E402
from actre.envs.compat.openenv import Command, World, make_app  # noqa: E402


@pytest.fixture(scope="module", params=[("alfworld", "small/train"), ("webshop", "shop/train")], ids=lambda p: p[0])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    world, panel = request.param
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = uvicorn.Server(uvicorn.Config(make_app(world, panel), host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    ends = time.monotonic() + 60
    while not running.started and time.monotonic() < ends:
        time.sleep(0.05)
    assert running.started
    yield f"http://127.0.0.1:{port}", world
    running.should_exit = True
    thread.join(30)


def test_its_own_client_plays_an_episode_and_sessions_are_apart(server: tuple[str, str]) -> None:
    url, world = server
    action = "look" if world == "alfworld" else "search[table]"
    with openenv.GenericEnvClient(base_url=url).sync() as one, openenv.GenericEnvClient(base_url=url).sync() as two:
        first, other = one.reset(seed=2), two.reset(seed=3)
        assert first.observation["game"] != other.observation["game"]
        assert not first.done
        answer = one.step({"command": action})
        assert answer.reward == 0.0
        assert answer.observation["text"].startswith(("You are in the middle", "Instruction: [SEP]"))
        assert answer.observation["admissible"]
        assert two.reset(game=first.observation["game"]).observation["text"] == first.observation["text"]
        for _ in range(60):
            answer = one.step({"command": "nothing"})
            if answer.done:
                break
        assert answer.done
        assert not answer.observation["won"]


def test_plain_http_has_the_schema_of_commands_and_answers(server: tuple[str, str]) -> None:
    with urllib.request.urlopen(f"{server[0]}/schema") as answer:
        schema = json.load(answer)
    assert schema["action"]["required"] == ["command"]
    assert {"text", "admissible", "won", "game"} <= schema["observation"]["properties"].keys()


def test_the_state_counts_steps_and_names_the_game() -> None:
    world = World("alfworld", "small/train")
    world.reset(seed=1, episode_id="mine")
    world.step(Command(command="look"))
    found = world.state.model_dump()
    assert (found["episode_id"], found["step_count"], found["game"]) == ("mine", 1, list_games("small/train")[1])


def test_ten_thousand_hostile_commands_raise_nothing() -> None:
    world = World("webshop", "shop/train")
    for turn, action in enumerate(actions(10_000)):
        if turn % 20 == 0:
            world.reset()
        world.step(Command(command=action if isinstance(action, str) else repr(action)))
