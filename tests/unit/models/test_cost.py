"""What a network costs, against counts by hand."""

import torch
from tiny import network
from torch import nn

from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.cost import inference_ms, macs, parameters


def test_macs_of_the_small_network_by_hand():
    """6×6 images: conv1 keeps 36 places of 4 channels over 1·9 weights, conv2 leaves 9 of 6 over 4·9, then 6 × 3."""
    model = network().train()
    assert macs(model, (1, 6, 6)) == 36 * 4 * 9 + 9 * 6 * 36 + 18 == 3258
    assert parameters(model) == 4 * 9 + 8 + 6 * 36 + 12 + 18 + 3
    assert all(module.training for module in model.modules())
    assert model.bn1.num_batches_tracked == 0


def test_macs_of_the_published_resnets():
    """He et al. 2016 give 0.27 million parameters for ResNet-20; stage by stage on 32×32 with 1×1 shortcuts."""
    model = build(MODELS["resnet20"], {}).build(10, 3)
    stem, same = 32 * 32 * 16 * 27, 32 * 32 * 16 * 16 * 9
    stages = 6 * same + 2 * (same // 2 + 5 * same + same // 18)
    assert macs(model, (3, 32, 32)) == stem + stages + 640
    assert 0.27e6 < parameters(model) < 0.28e6


def test_macs_of_a_transformer_by_hand():
    """Four patches of 2×2 on 4×4, width 8: the patches, in each block 3 + 1 + 4 + 4 maps of 8 to 8, the classifier."""
    model = build(MODELS["vit"], {"patch": 2, "width": 8, "depth": 2, "heads": 2}).build(3, 1)
    assert macs(model, (1, 4, 4)) == 4 * (8 * 4 + 2 * 12 * 8 * 8) + 8 * 3


def test_linear_map_without_a_call_of_its_module_counts():
    """torchvision's windows of attention use the weights of their Linear layers and never call these."""
    model = build(MODELS["swin_t"], {"patch": 2, "width": 8, "depths": [2], "window": 2}).build(3, 1)
    assert macs(model, (1, 4, 4)) == 4 * (8 * 4 + 2 * 12 * 8 * 8) + 8 * 3


def test_grouped_kernels_see_their_group_alone():
    model = nn.Sequential(
        nn.Conv2d(6, 8, 3, padding=1, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    )
    assert macs(model, (6, 5, 5)) == 25 * 8 * 3 * 9 + 16


def test_inference_is_timed_in_evaluation_mode_per_image():
    model = network().train()
    passes = []
    model.register_forward_hook(lambda module, inputs, output: passes.append((module.training, len(inputs[0]))))
    images = torch.randn(10, 1, 6, 6)
    assert 0 < inference_ms(model, images) < 100
    assert set(passes) == {(False, 10)} and len(passes) >= 4
    assert model.training and model.bn1.num_batches_tracked == 0
