"""Estimators by name, as `optim.advantage` gives it: an advantage function, and the settings that its paper fixes.

One row adds one; its function may live anywhere. A row named after a paper's recipe fixes every setting of the update
that the recipe consists of (`sets`): `actre.config.recipes.with_estimator` sets them, and OptimConfig refuses others.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from actre.types import ActreError


class Estimator(NamedTuple):
    """label: as reports name it. function: its import path, resolved when training begins. about: its equations in a
    line; source: where they are from.

    of: what it compares. "episodes": function(returns (B,), groups (B,)) -> (B,). "steps": function(rewards, states,
    groups, **takes) -> (B, S); see `actre.training.advantages`. sets: setting of OptimConfig -> the recipe's value.
    takes: argument of the function -> the setting it gets. anchor: what a step's state is to it, the whole observation
    (text, task and admissible actions) or its text. times: another estimator that this one is a constant multiple of.
    """

    label: str
    of: Literal["episodes", "steps"]
    function: str
    about: str
    source: str
    sets: Mapping[str, Any] = {}
    takes: Mapping[str, str] = {}
    anchor: Literal["observation", "text"] = "observation"
    times: str | None = None


_HERE = "actre.training.advantages:"
_GIGPO = {"discount": "gigpo_discount", "step_weight": "gigpo_step_weight"}

ESTIMATORS = {
    "grpo": Estimator(
        "GRPO",
        "episodes",
        f"{_HERE}grpo",
        "A = (R - mean R) / (std R + eps); the advantage alone: normalise, clip and KL are settings",
        "arXiv 2402.03300, section 4.1.2",
    ),
    "grpo_published": Estimator(
        "GRPO as published",
        "episodes",
        f"{_HERE}grpo",
        "grpo's A; mean over episodes of their mean over tokens of min(rho A, clip(rho, 0.8, 1.2) A) - 0.04 KL",
        "arXiv 2402.03300, equations 3 and 4, section 4.2",
        {
            "normalise": "episode",
            "importance_sampling_level": "token",
            "clip_low": 0.2,
            "clip_high": 0.2,
            "kl_beta": 0.04,
        },
    ),
    "grpo_no_std": Estimator(
        "GRPO without the deviation",
        "episodes",
        f"{_HERE}grpo_no_std",
        "A = R - mean R; the advantage alone, not Dr. GRPO, whose loss differs too",
        "arXiv 2503.20783, section 3.2, its advantage only",
    ),
    "dr_grpo": Estimator(
        "Dr. GRPO",
        "episodes",
        f"{_HERE}grpo_no_std",
        "A = R - mean R; sum over tokens of min(rho A, clip(rho, 0.8, 1.2) A) / (episodes x longest episode); no KL",
        "arXiv 2503.20783, section 3.2; TRL's loss_type dr_grpo",
        {
            "normalise": "constant",
            "importance_sampling_level": "token",
            "clip_low": 0.2,
            "clip_high": 0.2,
            "kl_beta": 0.0,
        },
    ),
    "rloo": Estimator(
        "RLOO",
        "episodes",
        f"{_HERE}rloo",
        "A = R - mean of the group's other R: n/(n-1) times grpo_no_std, which Adam all but removes",
        "arXiv 2402.14740, section 3.2",
        times="grpo_no_std",
    ),
    "gspo": Estimator(
        "GSPO",
        "episodes",
        f"{_HERE}grpo",
        "grpo's A; mean over rows of min(s A, clip(s, 1 - 3e-4, 1 + 4e-4) A), s = exp(mean over the row of log rho)",
        "arXiv 2507.18071, equations 5 to 7, section 5.1",
        {
            "normalise": "row",
            "importance_sampling_level": "sequence",
            "clip_low": 3e-4,
            "clip_high": 4e-4,
            "kl_beta": 0.0,
        },
    ),
    "gigpo": Estimator(
        "GiGPO",
        "steps",
        f"{_HERE}gigpo",
        "A = grpo over episodes + w grpo over the steps that start from one observation",
        "arXiv 2505.10978, equations 2 to 8",
        takes=_GIGPO,
    ),
    "gigpo_no_std": Estimator(
        "GiGPO without std",
        "steps",
        f"{_HERE}gigpo_no_std",
        "GiGPO with A = R - mean R in both places",
        "arXiv 2505.10978, its F_norm = 1",
        takes=_GIGPO,
    ),
    "gigpo_published": Estimator(
        "GiGPO as released",
        "steps",
        f"{_HERE}gigpo_published",
        "GiGPO; each episode counts once a step in its group's mean and std, eps 1e-6, one state is one text",
        "verl-agent, gigpo/core_gigpo.py",
        {"gigpo_discount": 0.95, "gigpo_step_weight": 1.0},
        takes=_GIGPO,
        anchor="text",
    ),
    "hgpo": Estimator(
        "HGPO",
        "steps",
        "actre.training.hgpo:hgpo",
        "A = sum_k w_k (R_t - mean) / (std + eps) among steps with the same last k+1 states; w_k ~ (k+1)^alpha",
        "arXiv 2602.22817",
        {"hgpo_history": 2, "hgpo_alpha": 1.0, "gigpo_discount": 0.95},
        takes={"discount": "gigpo_discount", "history": "hgpo_history", "alpha": "hgpo_alpha"},
        anchor="text",
    ),
    "epo": Estimator(
        "EPO",
        "episodes",
        f"{_HERE}grpo",
        "grpo's A; loss - lambda (H - beta_k alpha ([kl Hbar - H]+ + [H - kr Hbar]+)), beta_k = 1 + exp(-gamma k/kmid)",
        "arXiv 2509.22576",
        {
            "normalise": "token",
            "entropy_coef": 0.001,
            "entropy_smoothing": 0.1,
            "entropy_floor": 0.0,
            "entropy_ceiling": 2.0,
            "entropy_decay": 3.0,
        },
    ),
    "kl_cov": Estimator(
        "KL-Cov",
        "episodes",
        f"{_HERE}grpo",
        "grpo's A; unclipped loss + 0.1 |log rho| on the 2e-4 of tokens with the largest cov = (A - mean)(logp - mean)",
        "arXiv 2505.22617, equation 11; verl, compute_policy_loss_kl_cov",
        {
            "normalise": "token",
            "importance_sampling_level": "token",
            "covariance": "kl",
            "cov_share": 2e-4,
            "cov_kl": 0.1,
            "clip_low": 1.0,
            "clip_high": 1e6,
            "kl_beta": 0.0,
        },
    ),
    "clip_cov": Estimator(
        "Clip-Cov",
        "episodes",
        f"{_HERE}grpo",
        "grpo's A; no loss on a random 2e-4 of tokens, among those with 1 < cov < 5",
        "arXiv 2505.22617, equation 10; verl, compute_policy_loss_clip_cov",
        {
            "normalise": "token",
            "importance_sampling_level": "token",
            "covariance": "clip",
            "cov_share": 2e-4,
            "cov_low": 1.0,
            "cov_high": 5.0,
            "clip_low": 0.2,
            "clip_high": 0.2,
            "kl_beta": 0.0,
        },
    ),
    "actfocus": Estimator(
        "ActFocus",
        "episodes",
        f"{_HERE}grpo",
        "grpo's A times alpha on thoughts, 1 + beta sigmoid((E - mu)/sd) on actions; E = -logsumexp of the logits",
        "arXiv 2605.14558 (alpha 0.1 and beta 1 are assumed)",
        {"thought_weight": 0.1, "energy_weight": 1.0},
    ),
}

if TYPE_CHECKING:
    Advantage = str
else:
    Advantage = Literal[tuple(ESTIMATORS)]
"""The type of `optim.advantage`: one of the names above."""


def must_be_the_recipe(name: str, optim: Any) -> None:
    """Raises ActreError if the settings of an OptimConfig contradict the recipe that its estimator is named after."""
    row = ESTIMATORS.get(name)
    wrong = [] if row is None else [f"{one}={value}" for one, value in row.sets.items() if getattr(optim, one) != value]
    if wrong:
        raise ActreError(
            f"optim.advantage={name} is a whole recipe, which has {', '.join(wrong)}: choose it with --estimator "
            f"{name}, which sets these too (in Python: actre.config.recipes.with_estimator), or another estimator: "
            f"{', '.join(ESTIMATORS)}"
        )
