"""TRL's SFTTrainer with its loss computed through packed rows, which is faster on a CPU (benchmarks/sft.py)."""

from typing import Any

from torch import Tensor
from trl import SFTTrainer

from actre.training.packed import padded

_UNTRAINED = -100
"""Label of a token without a loss."""


class PackedSFTTrainer(SFTTrainer):
    """SFTTrainer of a model that the packed forward pass takes (`padded.is_packed`).

    Differs: it logs no token accuracy, for which all logits would be needed.
    """

    def __init__(self, *, products: str, **rest: Any) -> None:
        """products: see `OptimConfig.products`; the rest is SFTTrainer's."""
        super().__init__(**rest)
        self.products = products

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The sum of the trained tokens' negative log-probabilities (nats), over their number in the whole batch."""
        if return_outputs:
            raise NotImplementedError("the packed loss makes no outputs: it is for training alone")
        ids, present, counted = inputs["input_ids"], inputs["attention_mask"], inputs["labels"] != _UNTRAINED
        found = padded.logps(model, ids, present, counted, temperature=1.0, products=self.products, entropy=False)
        return -found.logps.sum() / (counted.sum() if num_items_in_batch is None else num_items_in_batch)
