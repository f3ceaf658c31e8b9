"""Batches: augmentation is what it says, and a function of (seed, stream, epoch, step) alone."""

import dataclasses
import itertools
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tiny import data
from torch.utils.data import TensorDataset

from lacuna.artifacts.files import read_tensors, write_tensors
from lacuna.data.batches import Augment, HostImages, UnlearningData, _from_host, batch_sizes
from lacuna.errors import LacunaError

F32 = torch.float32


def pictures(n=50, channels=2, height=5, width=4, augment=None, forget=0, **rest):
    """Images whose pixels are all different, so that every window can be told from every other."""
    size = channels * height * width
    x = (torch.arange(n * size).reshape(n, channels, height, width) + 1).to(torch.int32)
    index = torch.arange(n)
    parts = {"retain": index[forget:], **({"forget": index[:forget]} if forget else {})}
    return UnlearningData(x, index % 3, parts, classes=3, augment=augment or Augment(), **rest)


def windows(image, crop):
    """All crops of the zero-padded image, by offset."""
    channels, height, width = image.shape
    padded = np.zeros((channels, height + 2 * crop, width + 2 * crop), image.dtype)
    padded[:, crop : crop + height, crop : crop + width] = image
    return {
        (i, j): padded[:, i : i + height, j : j + width]
        for i, j in itertools.product(range(2 * crop + 1), range(2 * crop + 1))
    }


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crop", [0, 1, 2])
def test_augmented_image_is_a_window_of_the_padded_image_perhaps_mirrored(crop, flip):
    source = pictures(augment=Augment(crop, flip), n=400)
    seen = Counter()
    for batch in source.train_batches("retain", 64, seed=0, epoch=0, dtype=torch.float64):
        for x, index in zip(batch.x.numpy(), batch.index, strict=True):
            image = source.images[index].numpy()
            candidates = {(*offset, False): w for offset, w in windows(image, crop).items()}
            if flip:
                candidates |= {(*o, True): w[:, :, ::-1] for o, w in windows(image, crop).items()}
            found = [key for key, window in candidates.items() if np.array_equal(window, x)]
            assert len(found) == 1
            seen[found[0]] += 1
        assert len(seen) > 1 or crop == flip == 0, "drawn per sample, not per batch"
    # every window comes about equally often
    kinds = (2 * crop + 1) ** 2 * (1 + flip)
    assert len(seen) == kinds
    assert chisquare(list(seen.values())).pvalue > 1e-3 or kinds == 1


def test_augmentation_of_uint8_is_exact_and_normalised_after():
    source = data(augment=Augment(1, True))
    batch = next(source.train_batches("retain", 8, 0, 0, torch.float64))
    for x, index in zip(batch.x, batch.index, strict=True):
        image = source.images[index].numpy()
        options = [v for w in windows(image, 1).values() for v in (w, w[:, :, ::-1])]
        assert any(np.allclose(x, (w / 255 - 0.4) / 0.3, rtol=0, atol=1e-12) for w in options)


@pytest.mark.parametrize("stream", ["retain", "forget", "mixed"])
@pytest.mark.parametrize("batch_size", [1, 16, 1000])
def test_epoch_is_a_permutation_with_the_right_labels_and_flags(stream, batch_size):
    source = data()
    batches = list(source.train_batches(stream, batch_size, seed=0, epoch=0, dtype=F32))
    assert len(batches) == source.steps(stream, batch_size)
    assert [len(b.y) for b in batches] == batch_sizes(len(source.index(stream)), batch_size)
    index = torch.cat([b.index for b in batches])
    assert sorted(index.tolist()) == sorted(source.index(stream).tolist())
    assert torch.equal(torch.cat([b.y for b in batches]), source.labels[index])
    x = torch.cat([b.x for b in batches])
    assert torch.equal(x, source.normalised(source.images[index], F32))
    forgotten = set(source.parts["forget"].tolist())
    assert torch.cat([b.forgotten for b in batches]).tolist() == [i in forgotten for i in index.tolist()]
    assert all(b.classes == 3 for b in batches)


def test_order_changes_with_seed_stream_and_epoch_only():
    source = data(retain=40, forget=40)

    def order(seed, stream, epoch):
        return tuple(torch.cat([b.index for b in source.train_batches(stream, 8, seed, epoch, F32)]).tolist())

    orders = {order(seed, "retain", epoch) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert order(1, "retain", 2) == order(1, "retain", 2)
    ranks = [tuple(source.index(s).tolist().index(i) for i in order(0, s, 0)) for s in ("retain", "forget")]
    assert ranks[0] != ranks[1]


def test_batch_depends_on_nothing_but_its_place():
    source = data(augment=Augment(1, True))

    def batch(step, disturb):
        stream = source.train_batches("mixed", 8, seed=5, epoch=2, dtype=F32)
        for _ in range(step):
            earlier = next(stream)
            if disturb:
                torch.rand(7)
                torch.randint(9, (100,), generator=earlier.generator)
        if disturb:
            torch.manual_seed(123)
        found = next(stream)
        return found.x, found.index, torch.rand(5, generator=found.generator)

    for step in range(4):
        assert all(torch.equal(a, b) for a, b in zip(batch(step, False), batch(step, True), strict=True))


def test_random_stream_of_each_step_is_its_own():
    source = data(retain=40, forget=40)
    draws = [
        tuple(torch.rand(3, generator=batch.generator).tolist())
        for seed in (0, 1)
        for stream in ("retain", "forget")
        for epoch in (0, 1)
        for batch in source.train_batches(stream, 16, seed, epoch, F32)
    ]
    assert len(set(draws)) == len(draws) == 2 * 2 * 2 * 3


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    list(data(augment=Augment(2, True)).train_batches("mixed", 8, 0, 0, F32))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 16, 64, 100])
def test_batches_of_a_pass_are_of_nearly_equal_size(batch_size):
    """⌈n/b⌉ of them, none larger than b: a remainder makes all a little smaller instead of one very small."""
    for samples in range(1, 3 * batch_size + 2):
        sizes = batch_sizes(samples, batch_size)
        assert sum(sizes) == samples
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] - sizes[-1] <= 1
        if batch_size == 2 and samples % 2 and samples > 1:
            # pairs of an odd number: one of the batches is of three, or one sample would be left alone
            assert len(sizes) == samples // 2
            assert sizes[0] == 3
        else:
            assert len(sizes) == -(-samples // batch_size)
            assert sizes[0] <= batch_size
        assert min(sizes) > 1 or batch_size == 1 or samples == 1
        assert samples <= batch_size or min(sizes) >= batch_size / 2
    assert batch_sizes(64 * 18 + 1, 64) == [61] * 13 + [60] * 6


def test_remainder_is_shared_out_and_the_order_is_the_same():
    source = data(retain=13, forget=5)
    batches = list(source.train_batches("retain", 4, seed=0, epoch=0, dtype=torch.float32))
    assert [len(batch.y) for batch in batches] == source.sizes("retain", 4) == [4, 3, 3, 3]
    assert source.steps("retain", 4) == 4
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == sorted(source.index("retain").tolist())
    whole = list(source.train_batches("retain", 13, seed=0, epoch=0, dtype=torch.float32))
    assert torch.equal(torch.cat([batch.index for batch in batches]), whole[0].index), "the order is the same"
    plain = [[len(y) for _, y in source.plain_batches("retain", 4, F32, equal)] for equal in (False, True)]
    assert plain == [[4, 4, 4, 1], [4, 3, 3, 3]]


def test_without_shuffling_batches_are_slices_of_the_given_order():
    source = data(shuffle=False)
    batches = list(source.train_batches("mixed", 16, seed=3, epoch=4, dtype=F32))
    index = torch.cat([b.index for b in batches])
    assert index.tolist() == source.parts["forget"].tolist() + source.parts["retain"].tolist()
    assert [b.forgotten.sum().item() for b in batches] == [12, 0, 0, 0]


def test_plain_batches_are_neither_shuffled_nor_augmented():
    source = data(augment=Augment(2, True))
    x, y = (torch.cat(parts) for parts in zip(*source.plain_batches("test", 3, torch.float64), strict=True))
    index = source.parts["test"]
    np.testing.assert_allclose(x, (source.images[index].numpy() / 255 - 0.4) / 0.3, rtol=0, atol=1e-12)
    assert torch.equal(y, source.labels[index])


def test_normalisation_is_per_channel_and_for_bytes_only():
    x = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    source = UnlearningData(x, torch.zeros(1), {}, 2, mean=(0.0, 0.1, 0.5), std=(1.0, 0.2, 0.25))
    assert source.normalised(x, torch.float64).flatten().tolist() == pytest.approx([0.0, 0.5, 2.0])
    floats = torch.tensor([-3.0, 0.5, 7.0]).reshape(1, 3, 1, 1)
    assert torch.equal(source.normalised(floats, F32), floats)


def test_normalisation_of_one_kind_of_batch_is_not_that_of_another():
    """Mean and std are kept by type and size."""
    source = UnlearningData(torch.zeros(1, 1, 1, 1), torch.zeros(1), {}, 2, mean=(0.1,), std=(0.3,))
    for channels, side, dtype in ((1, 2, F32), (1, 3, F32), (3, 3, F32), (3, 3, torch.float64), (1, 2, F32)):
        x = torch.full((2, channels, side, side), 255, dtype=torch.uint8)
        found = source.normalised(x, dtype)
        value = (torch.tensor(1.0, dtype=dtype) - torch.tensor(0.1, dtype=dtype)) / torch.tensor(0.3, dtype=dtype)
        assert found.dtype == dtype and torch.equal(found, value.expand(x.shape))


def test_missing_part_is_named():
    source = pictures(n=4)
    with pytest.raises(LacunaError, match=r"^the data has no 'forget' samples; it has: retain$"):
        source.index("forget")
    with pytest.raises(LacunaError, match="the data has no 'forget' samples"):
        source.steps("mixed", 2)
    empty = UnlearningData(source.images, source.labels, {"retain": torch.arange(0)}, 3)
    with pytest.raises(LacunaError, match="the data has no 'retain' samples"):
        empty.index("retain")


# ---- from the user's own tensors -------------------------------------------------------------------------------------


def test_from_tensors_keeps_parts_apart():
    x = {name: torch.full((n, 1, 2, 2), float(n)) for name, n in (("retain", 5), ("forget", 2), ("test", 3))}
    y = {name: torch.full((len(v),), i) for i, (name, v) in enumerate(x.items())}
    source = UnlearningData.from_tensors(**{name: (x[name], y[name]) for name in x})
    assert source.classes == 3
    assert list(source.parts) == ["retain", "forget", "test"]
    for name in x:
        assert torch.equal(source.images[source.index(name)], x[name])
        assert torch.equal(source.labels[source.index(name)], y[name])
    assert UnlearningData.from_tensors(classes=7, retain=(x["retain"], y["retain"])).classes == 7


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"forget": (2, 2, (1, 4, 4))}, "no part 'retain'"),
        ({"retain": (0, 0, (1, 4, 4))}, "part 'retain' has 0 images of shape (1, 4, 4), 0 labels"),
        ({"retain": (3, 2, (1, 4, 4))}, "part 'retain' has 3 images of shape (1, 4, 4), 2 labels"),
        (
            {"retain": (3, 3, (1, 4, 4)), "forget": (2, 2, (3, 4, 4))},
            "part 'forget' has 2 images of shape (3, 4, 4), 2 labels; allowed: at least one image of shape (1, 4, 4)",
        ),
        ({"retain": (3, 3, (1, 4, 4)), "test": (0, 0, (1, 4, 4))}, "part 'test' has 0 images"),
    ],
)
def test_from_tensors_refuses_what_does_not_fit(parts, said):
    tensors = {k: (torch.zeros(n, *shape), torch.zeros(m, dtype=torch.long)) for k, (n, m, shape) in parts.items()}
    with pytest.raises(LacunaError) as caught:
        UnlearningData.from_tensors(**tensors)
    assert f"from_tensors: {said}" in str(caught.value)


def test_from_arrays_takes_what_the_pipeline_stores():
    arrays = {"x": np.full((4, 2, 3, 3), 255, np.uint8), "y": np.array([0, 1, 1, 0])}
    meta = {"classes": 2, "mean": [0.5, 0.0], "std": [0.5, 2.0]}
    source = UnlearningData.from_arrays(arrays, meta, {"retain": np.array([2, 0], np.int32)}, augment=Augment(1))
    batch = next(source.plain_batches("retain", 9, F32))
    assert batch[0][:, :, 0, 0].tolist() == [[1.0, 0.5], [1.0, 0.5]]
    assert batch[1].tolist() == [1, 0]
    assert source.augment == Augment(1)


def test_fingerprint_tells_apart_what_plays_another_part_or_looks_different():
    source = data()
    swapped = {**source.parts, "retain": source.parts["retain"].flip(0)}
    relabelled = source.labels.clone()
    relabelled[0] += 1
    others = [
        UnlearningData(source.images, source.labels, swapped, 3),
        UnlearningData(source.images, relabelled, source.parts, 3),
        UnlearningData(source.images, source.labels, {k: v for k, v in source.parts.items() if k != "val"}, 3),
        UnlearningData(source.images, source.labels, source.parts, 3, mean=(0.1,)),
        UnlearningData(source.images, source.labels, source.parts, 3, augment=Augment(1)),
        UnlearningData(source.images, source.labels, source.parts, 3, shuffle=False),
        UnlearningData(source.images.flip(3), source.labels, source.parts, 3),
    ]
    same = UnlearningData(source.images.clone(), source.labels.clone(), dict(source.parts), 3)
    assert len({d.fingerprint() for d in (same, *others)}) == 1 + len(others)
    again = UnlearningData(source.images, source.labels, source.parts, 3)
    assert again.fingerprint() == same.fingerprint()


@pytest.mark.parametrize(("labels", "said"), [([0, -1], "label -1"), ([0, 3], "label 3")])
def test_from_tensors_refuses_a_label_out_of_range(labels, said):
    with pytest.raises(LacunaError, match=rf"^from_tensors: {said} is out of range; allowed: 0 to 2$"):
        UnlearningData.from_tensors(retain=(torch.zeros(2, 1, 4, 4), torch.tensor(labels)), classes=3)


X, Y = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"forget": ((X * 255).byte(), Y)}, "part 'forget' is torch.uint8 on cpu beside torch.float32 on cpu; allowed"),
        ({"forget": (X * 255, Y)}, "part 'forget' has floats up to "),
        ({"retain": (X, torch.eye(3)[Y])}, "part 'retain': labels: shape (6, 3) is not allowed; allowed: (n,)"),
        ({"retain": (X, Y[:, None])}, "part 'retain': labels: shape (6, 1) is not allowed"),
        ({"retain": (X, Y + 0.7)}, "part 'retain': labels: 0.7 is not allowed; allowed: whole numbers"),
        ({"retain": (X, Y * torch.nan)}, "part 'retain': labels: nan is not allowed"),
        ({"retain": (X, list("abcabc"))}, "part 'retain': labels: a list is not allowed"),
        ({"retain": (X.where(X < 0.99, torch.nan), Y)}, "part 'retain': images: image "),
        ({"retain": (X / 0, Y)}, "part 'retain': images: image 0 holds NaN or infinity"),
        (
            {"retain": (X.expand(6, 3, 8, 8).permute(0, 2, 3, 1), Y)},
            "part 'retain': images: shape (6, 8, 8, 3) has the",
        ),
        ({"retain": (X.long(), Y)}, "part 'retain': images: type torch.int64 is not allowed; allowed: uint8, or"),
        ({"retain": (X > 0.5, Y)}, "part 'retain': images: type torch.bool is not allowed"),
        ({"retain": (X.flatten(1), Y)}, "part 'retain': images: shape (6, 64) is not allowed; allowed: (n, channels"),
        ({"retain": (X.numpy().astype(object), Y)}, "part 'retain': images: a ndarray is not allowed"),
        ({"retain": (X.to("meta"), Y)}, "part 'retain': images: a tensor without values"),
        ({"retain": (X.to_sparse(), Y)}, "part 'retain': images: a tensor of layout torch.sparse_coo"),
        ({"mixed": (X, Y)}, "'mixed' is forget and retain together"),
        ({"classes": "3"}, "classes: '3' is not allowed; allowed: a whole number"),
        ({"classes": 0}, "classes: 0 is not allowed"),
        ({"augment": 4}, "augment: 4 is not allowed; allowed: lacuna.data.batches.Augment"),
        ({"retain": X}, "part 'retain' is a Tensor; allowed: (images, labels)"),
    ],
)
def test_from_tensors_refuses_what_would_be_read_wrongly(parts, said):
    """Bytes beside floats were once 255 times as bright, and fractions of labels cut off."""
    with pytest.raises(LacunaError) as caught:
        UnlearningData.from_tensors(**{"retain": (X, Y)} | parts)
    assert str(caught.value).startswith(f"from_tensors: {said}")
    assert "; allowed: " in str(caught.value)


@pytest.mark.parametrize("kind", [np.float32, np.float64, ">f4", np.uint8])
@pytest.mark.parametrize("labels", [np.uint8, ">i4", np.float64])
def test_from_tensors_takes_arrays_as_it_takes_tensors(kind, labels):
    x = (X * 255).byte() if kind == np.uint8 else X
    retain = (x.numpy()[::-1].astype(kind), Y.numpy().astype(labels))
    source = UnlearningData.from_tensors(retain=retain, forget=TensorDataset(x, Y), test=[x.numpy(), Y.tolist()])
    assert torch.equal(source.images[:6].float(), x.flip(0).float())
    assert source.labels.tolist() == 3 * Y.tolist()
    assert (source.labels.dtype, source.classes) == (torch.int64, 3)


def test_unscaled_floats_are_taken_with_a_warning():
    with pytest.warns(UserWarning, match="floats up to 25"):
        source = UnlearningData.from_tensors(retain=(X * 255, Y))
    assert torch.equal(source.images, X * 255)


def test_data_is_shown_in_one_line():
    shown = repr(UnlearningData.from_tensors(retain=(X, Y), forget=(X[:2], Y[:2])))
    assert shown == "UnlearningData(retain 6, forget 2; images of 1×8×8 float32 on cpu, 3 classes)"


# ---- from host memory ------------------------------------------------------------------------------------------------

DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def served(path, device, serve):
    """The same stored images on the device, or served from the file on the host."""
    source = data(augment=Augment(1, True))
    write_tensors(path, "images", {"x": source.images.numpy(), "y": source.labels.numpy()})
    arrays, _ = read_tensors(path, "images", mapped=True)
    parts = {name: index.numpy() for name, index in source.parts.items()}
    meta = {"classes": 3, "mean": (0.4,), "std": (0.3,)}
    return UnlearningData.from_arrays(arrays, meta, parts, device=device, serve=serve, augment=source.augment)


@pytest.mark.parametrize("device", DEVICES)
def test_images_on_the_host_give_the_same_batches(tmp_path, device):
    """Bit for bit, every field: augmented, plain, and rows by an index on either side."""
    here, there = (served(tmp_path / serve, device, serve) for serve in ("device", "host"))
    assert isinstance(there.images, HostImages)
    assert isinstance(here.images, torch.Tensor)
    assert there.device == here.device
    assert (there.images.shape, there.images.dtype) == (here.images.shape, here.images.dtype)
    assert len(there.images) == len(here.images)
    for stream in ("retain", "forget", "mixed"):
        pairs = zip(*(s.train_batches(stream, 16, 3, 1, F32) for s in (here, there)), strict=True)
        for a, b in pairs:
            assert all(torch.equal(getattr(a, f), getattr(b, f)) for f in ("x", "y", "index", "forgotten"))
            assert (a.x.device, a.x.stride()) == (b.x.device, b.x.stride())
    for a, b in zip(*(s.plain_batches("val", 4, F32) for s in (here, there)), strict=True):
        assert all(map(torch.equal, a, b))
    index = here.index("test")
    assert torch.equal(there.images[index], here.images[index])
    assert torch.equal(there.images[index.cpu()], here.images[index])


def test_images_stay_on_the_device_unless_they_are_too_many(tmp_path, monkeypatch):
    """auto: half of a GPU's free memory is theirs; on a CPU the file is the memory."""
    assert isinstance(served(tmp_path / "x", "cpu", "auto").images, torch.Tensor)
    images = torch.zeros(100, 1, 2, 2, dtype=torch.uint8)
    for free, expected in ((800, False), (799, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        assert _from_host(images, torch.device("cuda"), "auto") is expected
        assert not _from_host(images, torch.device("cuda"), "device")
        assert _from_host(images, torch.device("cpu"), "host")


def test_mapped_images_are_neither_copied_nor_warned_about(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = served(tmp_path / "x", "cpu", "device")
    own = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(tmp_path / "x"))]
    ends = [[int(end, 16) for end in line.split()[0].split("-")] for line in own]
    assert any(first <= source.images.data_ptr() < last for first, last in ends)


def test_known_content_stands_for_the_images_in_the_fingerprint(tmp_path):
    """The same on the device and on the host; another content, other labels or another part are told apart."""
    here, there = (served(tmp_path / serve, "cpu", serve) for serve in ("device", "host"))
    assert here.fingerprint() == there.fingerprint()
    named = [dataclasses.replace(s, content="a") for s in (here, there)]
    assert named[0].fingerprint() == named[1].fingerprint()
    unreadable = dataclasses.replace(named[0], images=HostImages(torch.zeros(()), torch.device("cpu")))
    assert unreadable.fingerprint() == named[0].fingerprint(), "the images were not read"
    others = [
        dataclasses.replace(here, content="b"),
        dataclasses.replace(named[0], labels=here.labels.flip(0)),
        dataclasses.replace(named[0], parts={"retain": here.parts["retain"]}),
    ]
    assert len({d.fingerprint() for d in (here, named[0], *others)}) == 5
