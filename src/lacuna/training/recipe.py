"""What every recipe is: training from scratch with cross-entropy, and the augmentation of its images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Augment, Batch
from lacuna.fields import Count, Index
from lacuna.training.objective import Objective, Schedule


@dataclass(frozen=True, kw_only=True)
class Recipe(Objective):
    """Training from scratch with cross-entropy on the retained samples (all of them, for the original model).

    The defaults are the published CIFAR setting: lr 0.1, batch 256, 182 epochs, × 0.1 at 91 and 136, crop 4, flip.
    rewind_epoch: pruning restarts from the weights after this many epochs (0: the initialisation).
    crop: pixels of padding for random crops, in training and for every unlearner; 0 for none.
    flip: mirror half of the images at random, in training and for every unlearner.
    """

    epochs: Count = 182
    schedule: Schedule = "multistep"
    milestones: tuple[Index, ...] = (91, 136)
    rewind_epoch: Index = 8
    crop: Index = 4
    flip: bool = True

    @property
    def augment(self) -> Augment:
        return Augment(self.crop, self.flip)

    def loss(self, model: nn.Module, retain: Batch) -> Tensor:
        return cross_entropy(model(retain.x), retain.y)
