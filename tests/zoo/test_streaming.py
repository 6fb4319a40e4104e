"""One new frame at a time gives what the network as written gives, at the clip's ends too."""

from __future__ import annotations

import pytest
import torch

from cimsim.zoo import registry
from cimsim.zoo.errors import ZooError
from cimsim.zoo.streaming import StreamingStep, is_cascade, shifted

CASCADES = [
    ("fastdvdnet", {"width": 4, "per_frame": 3}),
    ("cimnet", {"stride": 4, "stages": 2}),
    ("cimnet", {"stride": 2, "stages": 2}),
]


def built(name, options):
    torch.manual_seed(0)
    return registry.build(name, **options).eval()


def mirrored(clip, index):
    """Frame ``index`` of a clip that is reflected at its first and last frame."""
    last = len(clip) - 1
    while last and not 0 <= index <= last:
        index = -index if index < 0 else 2 * last - index
    return clip[index if last else 0]


def around(clip, centre, radius):
    return torch.cat([mirrored(clip, centre + d) for d in range(-radius, radius + 1)], dim=1)


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize(("name", "options"), CASCADES)
def test_chain_of_steps_equals_the_network_as_written(name, options, frames):
    model = built(name, options)
    step = StreamingStep(model).eval()
    clip = torch.rand(frames, 1, 3, 18, 22, generator=torch.Generator().manual_seed(1))
    noise_map = torch.full((1, 1, 18, 22), 0.1)
    kept, estimates = torch.zeros(step.kept_shape(18, 22)), []
    with torch.no_grad():
        for centre in range(-1, frames + 1):
            estimate, result = step(around(clip, centre, 1), noise_map, kept)
            kept = shifted(kept, result)
            estimates.append(estimate)
        for t in range(frames):
            torch.testing.assert_close(estimates[t + 2], model(around(clip, t, 2), noise_map))


@pytest.mark.parametrize(("name", "options"), CASCADES)
def test_step_has_the_tensors_of_the_network_and_no_others(name, options):
    model = built(name, options)
    step = StreamingStep(model)
    own, whole = step.state_dict(), model.state_dict()
    assert list(own) == list(whole)
    assert all(own[key].data_ptr() == whole[key].data_ptr() for key in whole)


def test_kept_results_are_as_large_as_the_padded_frame():
    step = StreamingStep(built("cimnet", {"stride": 8, "stages": 2}))
    assert step.kept_shape(540, 960) == (1, 6, 544, 960)
    assert step.kept_shape(32, 48) == (1, 6, 32, 48)


def test_newest_result_comes_last():
    kept = shifted(torch.zeros(1, 6, 1, 1), torch.ones(1, 3, 1, 1))
    kept = shifted(kept, torch.full((1, 3, 1, 1), 2.0))
    assert kept.flatten().tolist() == [1, 1, 1, 2, 2, 2]


def test_only_cascades_stream():
    assert not is_cascade(built("cimnet", {}))
    assert not is_cascade(torch.nn.Conv2d(3, 3, 3))
    assert is_cascade(built("cimnet", {"stages": 2}))
    with pytest.raises(ZooError, match="DenBlock looks at 3 frames in one stage"):
        StreamingStep(built("fastdvdnet-block", {"width": 4}))
