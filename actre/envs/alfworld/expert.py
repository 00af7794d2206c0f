"""A scripted expert that plays ALFWorld from its text alone: it searches, remembers what it saw, and does the task.

It sees neither the game file nor the admissible actions. `Habits` set how it searches and what it does badly. Before
each action it writes one short thought, from a small closed vocabulary, that names what the action needs; these pairs
are the demonstrations.
"""

import random
from dataclasses import dataclass
from typing import Literal

from actre.envs.alfworld.expert_thoughts import thought_for
from actre.envs.alfworld.memory import MACHINE, Memory, kind
from actre.envs.alfworld.paraphrase import paraphrase
from actre.envs.alfworld.places import usual
from actre.envs.alfworld.tasks import DONE, NoPlanError, Task, parse_task
from actre.envs.demo import Decision

Search = Literal["listed", "reversed", "random", "likely"]
Thoughts = Literal["marked", "other", "needs", "plain", "said"]


@dataclass(frozen=True)
class Habits:
    """How the expert searches, and how well it plays."""

    search: Search = "random"
    """"listed": in the order of the first observation; "reversed": the other way round; "random": in an order drawn for
    each game; "likely": where such things usually are first, ties in an order drawn for each game."""

    order_noise: float = 0.0
    """Probability that a search step goes to a random unseen receptacle instead of the next one."""

    random_moves: float = 0.0
    """Probability of a step without a purpose: going somewhere, or opening, examining or taking what is there."""

    forget: float = 0.0
    """Probability, drawn once a game, of forgetting to clean, heat or cool."""

    recall: float = 0.0
    """Probability that an expert which forgot remembers, drawn each time it has searched everything without success."""

    thoughts: Thoughts = "marked"
    """How much of the action's own words a thought says. marked: as "plain", but a step without a purpose is named so
    ("look around . ..."), which reveals the expert's mode. The others are a function of state and action alone
    (expert_thoughts.py): other: what it acts on, in other words ("need mug . try shelf ( 1 )"); needs: none of the
    action's names ("need mug"); plain: what it acts on ("need mug . try shelf 1"); said: the whole action first ("go to
    shelf 1 . need mug")."""

    paraphrase: bool = False
    """Other words for each thought, drawn at random (paraphrase.py); not for "marked" and "other" thoughts."""


class Expert:
    """Plays one game at a time: call `reset` with the first observation, then `act` on every one. Seeded."""

    def __init__(self, habits: Habits, seed: int | str) -> None:
        """Raises ValueError for paraphrased thoughts of a kind that has no paraphrases."""
        if habits.paraphrase and habits.thoughts in ("marked", "other"):
            raise ValueError(f"{habits.thoughts} thoughts have no paraphrases: use needs, plain or said")
        self.habits = habits
        self._rng = random.Random(f"actre expert {seed}")
        self._words = random.Random(f"actre expert's words {seed}")  # of its own, so that the play is the same

    def reset(self, obs: str, task: str) -> None:
        """Begin a game. task: its sentence, or `Game.plan()` if a person wrote the sentence.

        Raises NoPlanError if the sentence matches no template of the six task types, or no receptacle is seen.
        """
        goal = parse_task(task)
        if goal is None:
            raise NoPlanError(
                f"the scripted expert has no plan for the task {task!r}: it reads only the template sentences of the "
                "six ALFWorld task types"
            )
        self._task: Task = goal
        self._memory = Memory(obs)
        self._read = Memory(obs)  # unlike the plan's, it never lets go of what it saw
        if not self._memory.receptacles:
            raise NoPlanError(f"the scripted expert has no plan for the task {task!r}: it sees no receptacle to go to")
        self._order = list(self._memory.receptacles)
        if self.habits.search == "reversed":
            self._order.reverse()
        elif self.habits.search != "listed":
            self._rng.shuffle(self._order)
        self._forgets = self._rng.random() < self.habits.forget
        self._last: str | None = None
        self.wanders = False

    def act(self, obs: str) -> Decision:
        """The next thought and action. obs: the answer to the last action, or the first observation."""
        if self._last is not None:
            self._memory.observe(self._last, obs)
            self._read.observe(self._last, obs)
        self.wanders = self._rng.random() < self.habits.random_moves
        decision = self._wander() if self.wanders else self._plan()
        self._last = decision.action
        if self.habits.thoughts == "marked":
            return decision
        thought = thought_for(decision.action, self._read, self._task, self.habits.thoughts)
        if self.habits.paraphrase:
            thought = paraphrase(thought, self._words)
        return Decision(thought, decision.action)

    @property
    def mode(self) -> tuple[bool, bool]:
        """What no thought should reveal: whether the last step was without a purpose, and whether the expert forgot."""
        return self.wanders, self._forgets

    def took(self, action: str) -> None:
        """Tell which action was taken, if it was another one than `act` returned last."""
        self._last = action

    # --- the plan ---

    def _plan(self) -> Decision:
        memory, task = self._memory, self._task
        held = memory.holding
        if held and kind(held) != task.thing:
            return self._put_back(held)
        if held and task.verb and held not in memory.changed and not self._forgets:
            return self._change(held, task.verb)
        if held and task.lamp:
            return self._light(task.lamp)
        if held:
            return self._place(held)
        for thing in memory.known(task.thing):
            spot = memory.where(thing)
            if spot and not self._finished(thing, spot):
                return self._fetch(thing, spot)
        return self._search(task.thing)

    def _finished(self, thing: str, spot: str) -> bool:
        """Whether this expert believes that a thing already lies where, and is changed as, the task wants it."""
        task = self._task
        if task.receptacle is None or kind(spot) != task.receptacle:
            return False
        if task.verb and thing not in self._memory.changed and not self._forgets:
            return False
        # an expert that forgot would still bring a thing that it has not put there itself
        if task.verb and self._forgets and thing not in self._memory.origin:
            return False
        return task.number == 1 or spot == self._goal()

    def _fetch(self, thing: str, spot: str) -> Decision:
        if not self._memory.near(spot):
            return Decision(f"{thing} is at {spot} . go there", f"go to {spot}")
        if spot in self._memory.closed:
            return _open(spot)
        return Decision(f"{thing} is here . take it", f"take {thing} from {spot}")

    def _change(self, held: str, verb: str) -> Decision:
        machines = [r for r in self._memory.receptacles if kind(r) == MACHINE[verb]]
        machines = [r for r in machines if f"{verb} {held} with {r}" not in self._memory.failed]
        if not machines:  # none in this room: place the object unchanged
            return self._place(held)
        machine = next((r for r in machines if self._memory.near(r)), machines[0])
        if self._memory.near(machine):
            return Decision(f"{machine} is here . {verb} {held}", f"{verb} {held} with {machine}")
        return Decision(f"i hold {held} . {verb} it at {machine}", f"go to {machine}")

    def _goal(self) -> str | None:
        """The receptacle to fill: first one with most of the wanted things, then one within reach, then one seen."""
        memory, task = self._memory, self._task
        fitting = [r for r in memory.receptacles if kind(r) == task.receptacle]
        fitting = [r for r in fitting if f"move {memory.holding} to {r}" not in memory.failed] or fitting

        def merit(r: str) -> tuple[int, bool, bool]:
            things = [t for t in memory.seen.get(r, ()) if kind(t) == task.thing]
            return (len(things) if task.number > 1 else 0, memory.near(r), r in memory.seen)

        return max(fitting, key=merit, default=None)

    def _place(self, held: str) -> Decision:
        goal = self._goal()
        if goal is None:
            return self._search(self._task.thing)
        if not self._memory.near(goal):
            verb = self._task.verb
            state = f"{held} is {DONE[verb]}" if verb and held in self._memory.changed else f"i hold {held}"
            return Decision(f"{state} . bring it to {goal}", f"go to {goal}")
        if goal in self._memory.closed:
            return _open(goal)
        return Decision(f"{goal} is here . put {held}", f"move {held} to {goal}")

    def _light(self, lamp_kind: str) -> Decision:
        for lamp in self._memory.known(lamp_kind):
            spot = self._memory.where(lamp)
            if spot is None or f"use {lamp}" in self._memory.failed:
                continue
            if self._memory.near(spot):
                return Decision(f"{lamp} is here . use it", f"use {lamp}")
            return Decision(f"{lamp} is at {spot} . go there", f"go to {spot}")
        return self._search(lamp_kind)

    def _put_back(self, held: str) -> Decision:
        memory = self._memory
        home = memory.origin.get(held, memory.here or memory.receptacles[0])
        spots = [home, *self._order]
        spot = next((r for r in spots if f"move {held} to {r}" not in memory.failed), home)
        if not memory.near(spot):
            return Decision(f"no need for {held} . bring it to {spot}", f"go to {spot}")
        if spot in memory.closed:
            return _open(spot)
        return Decision(f"no need for {held} . put it at {spot}", f"move {held} to {spot}")

    # --- the search ---

    def _search(self, wanted: str) -> Decision:
        memory = self._memory
        for spot in memory.receptacles:
            if memory.near(spot) and spot not in memory.seen:
                if spot in memory.closed:
                    return _open(spot)
                return Decision(f"{spot} is here . examine it", f"examine {spot}")
        unseen = [r for r in self._order if r not in memory.seen]
        if not unseen:
            # everything was searched without success: something was missed, moved or forgotten, so search again
            if self._forgets and self.habits.recall and self._rng.random() < self.habits.recall:
                self._forgets = False
                return self._plan()
            memory.seen = {memory.here: memory.seen.get(memory.here, [])} if memory.here else {}
            unseen = [r for r in self._order if not memory.near(r)] or self._order
        if self.habits.order_noise and self._rng.random() < self.habits.order_noise:
            spot = self._rng.choice(unseen)
        elif self.habits.search == "likely":
            spot = max(unseen, key=lambda r: self._hope(wanted, r))
        else:
            spot = unseen[0]
        more = "one more " if self._task.number > 1 and self._placed() else ""
        return Decision(f"need {more}{wanted} . try {spot}", f"go to {spot}")

    def _hope(self, wanted: str, receptacle: str) -> float:
        hope = usual(wanted, kind(receptacle))
        # an object that is to be brought here unchanged is rarely here already
        waits = kind(receptacle) == self._task.receptacle and not self._task.verb
        return hope / 100 if waits else hope

    def _placed(self) -> bool:
        goal = self._goal()
        return bool(goal) and any(kind(t) == self._task.thing for t in self._memory.seen.get(goal or "", ()))

    def _wander(self) -> Decision:
        """A step without a purpose that should be possible according to memory."""
        memory = self._memory
        options = [f"go to {r}" for r in memory.receptacles if not memory.near(r)]
        doing: list[str] = []
        if memory.here:
            doing.append(f"examine {memory.here}")
            if memory.here in memory.closed:
                doing.append(f"open {memory.here}")
            elif memory.holding is None:
                doing += [
                    f"take {t} from {memory.here}" for t in memory.seen.get(memory.here, ()) if kind(t) != "desklamp"
                ]
        pool = doing if doing and self._rng.random() < 0.4 else options
        action = self._rng.choice(pool or ["look"])
        return Decision(f"look around . {action}", action)


def _open(spot: str) -> Decision:
    return Decision(f"{spot} is closed . open it", f"open {spot}")
