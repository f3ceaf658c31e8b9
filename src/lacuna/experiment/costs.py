"""How long jobs take, by finished ones of the same kind.

A job is estimated by the nearest kind of which one has finished: the same but for the seed, then another state or
scenario of the same entries, then the same method with other values, and at last any training of the same network.
The further kinds are scaled by epochs and by what the networks cost. Nothing is guessed: without such a job there is
no estimate.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from lacuna.experiment.grid import Experiment
from lacuna.experiment.jobs import Job
from lacuna.experiment.shadow_plan import models_of

# rules that train a network by the recipe; of one the time tells that of another
_TRAININGS = {
    "train", "retrain", "retrain_exact", "retrain_exact_dense", "prune", "shadow_train", "shadow_prune",
    "shadow_retrain_exact", "shadow_retrain_exact_dense", "difficulty_held_out",
}  # fmt: skip
# coordinates that change a job's time little, one after the other
_LITTLE = (("seed",), ("state", "sparsity"), ("scenario",))


class Costs:
    """Seconds of the jobs of an experiment."""

    def __init__(self, experiment: Experiment):
        self.experiment = experiment
        self._known: dict[Hashable, tuple[float, int]] = {}

    def learn(self, job: Job, seconds: float) -> None:
        """Take in the seconds of a finished job."""
        for kind, effort in self._kinds(job):
            total, number = self._known.get(kind, (0.0, 0))
            self._known[kind] = total + seconds / effort, number + 1

    def seconds(self, job: Job) -> float | None:
        """The expected seconds of a job: the mean of the nearest kind; None if no job tells."""
        if not self._known:
            return None
        for kind, effort in self._kinds(job):
            if kind in self._known:
                total, number = self._known[kind]
                return effort * total / number
        return None

    def means(self) -> list[float]:
        """The mean seconds of a unit of every kind that is known."""
        return [total / number for total, number in self._known.values()]

    def nearest(self, job: Job) -> Hashable:
        """A name for the jobs that differ from this one in the seed alone."""
        return next(self._kinds(job))[0]

    def _kinds(self, job: Job) -> Iterator[tuple[Hashable, float]]:
        """The kinds of a job, the nearest first, and the units of each that it takes."""
        place = dict(job.wildcards)
        # a shadow job makes several models, the last one fewer
        models = float(len(models_of(place.pop("shadows")))) if "shadows" in place else 1.0
        models *= float(place.get("folds", 1)) if job.rule == "difficulty_held_out" else 1.0
        for names in _LITTLE:
            for name in names:
                place.pop(name, None)
            yield (job.rule, *place.items()), models
        if "model" not in place:
            yield (job.rule,), models
            return
        network = tuple(place[name] for name in ("dataset", "model"))
        effort = models * self._epochs(job.rule, place)
        yield ("method", job.rule, *network, self._method(job)), effort
        family = "training" if job.rule in _TRAININGS else job.rule
        if job.rule in _TRAININGS or "unlearner" not in place or self._method(job) is None:
            yield ("family", family, *network), effort
            if (size := self.experiment.sizes.get((network[0], network[1]))) is not None:
                yield ("size", family, network[0]), effort * float(size["multiplications_per_pixel"])

    def _method(self, job: Job) -> str | None:
        """The method of the unlearner or the pruner that a job runs; None for rules that run none of their own."""
        place, axes = dict(job.wildcards), self.experiment.axes
        if job.rule in ("evaluate", "relearn", "probe", "population", "curvature"):
            return None
        for axis, name in (("unprune", "unlearner"), ("unlearners", "unlearner"), ("pruners", "pruner")):
            if place.get(name) in axes[axis]:
                return axes[axis][place[name]].method
        return None

    def _epochs(self, rule: str, place: Mapping[str, str]) -> float:
        """The epochs of a job: of the method where it has some, of the recipe for a training, else one unit."""
        axes = self.experiment.axes
        recipe = axes["recipes"].get(place.get("recipe", ""))
        if rule in _TRAININGS:
            return float(recipe.values.get("epochs", 1)) if recipe is not None else 1.0
        entry = axes["unlearners"].get(place.get("unlearner", ""))
        epochs = entry.values.get("epochs") if entry is not None and rule in ("unlearn", "shadow_unlearn") else None
        return float(epochs) if isinstance(epochs, int | float) and epochs > 0 else 1.0


def time_left(
    left: Mapping[Job, float], reads: Mapping[Job, Sequence[Job]], at_once: int, gpus: int | None, on_gpu: set[Job]
) -> float:
    """Seconds until jobs are done: no less than their sum shared out, nor than the longest chain of them.

    left: seconds that each still takes. reads: `Jobs.reads`, in its order. at_once: jobs that run at the same time;
    gpus: how many of `on_gpu` do.
    """
    if not left:
        return 0.0
    chains: dict[Job, float] = {}
    longest = 0.0
    for job, before in reads.items():
        chain = max((chains[other] for other in before if other in chains), default=0.0) + left.get(job, 0.0)
        if chain:
            chains[job] = chain
            longest = max(longest, chain)
    shares = [sum(left.values()) / max(at_once, 1)]
    if gpus:
        shares.append(sum(seconds for job, seconds in left.items() if job in on_gpu) / gpus)
    return max(longest, *shares)
