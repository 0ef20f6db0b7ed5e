"""What views do to pictures, by the formulas that others publish, and what chance may decide."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter1d

from torchicon.data.views import POLICIES, View, lab, part

ALL = [pytest.param(view, id=f"{name}-{i}") for name, views in POLICIES.items() for i, view in enumerate(views)]
STEPS = ("flip", "color", "gray", "blur", "solarize")  # in the order of their chances
STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
EXACT = {"rtol": 0, "atol": 1e-12}
seeds = st.integers(0, 2**31)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=6, height=12, width=10, seed=0, dtype=torch.float64):
    """Of all values that a byte has; among them black, white and one color."""
    made = torch.randint(0, 256, (n, 3, height, width), generator=generator(seed)).to(dtype) / 255
    made[0], made[1], made[2] = 0, 1, torch.tensor([0.2, 0.7, 0.1], dtype=dtype)[:, None, None]
    return made


def seen(view, x, seed=0):
    return view.apply(x, view.draw(len(x), generator(seed)))


def test_a_mirrored_mirror_is_the_picture():
    x = pictures()
    once = seen(View(flip=1.0), x)
    assert torch.equal(once, x.flip(3))
    assert torch.equal(seen(View(flip=1.0), once), x)


def box(view, seed, n=64, side=48):
    """Width, height, left, top and mirroring of the crops of a picture whose values are its places."""
    place = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    x = torch.zeros(n, 3, side, side, dtype=torch.float64)
    x[:, 0], x[:, 1] = place, place[:, None]
    y = seen(view, x, seed)
    first, last = side // 4, side - 1 - side // 4  # inside, where nothing beyond the border is asked for
    step = (y[:, 0, 0, last] - y[:, 0, 0, first]) / (last - first) * side
    height = (y[:, 1, last, 0] - y[:, 1, first, 0]) / (last - first) * side
    left = y[:, 0, 0, first] - step * place[first]
    return (
        step.abs(),
        height,
        torch.where(step < 0, left + step, left),
        y[:, 1, first, 0] - height * place[first],
        step < 0,
    )


@settings(max_examples=25, deadline=None)
@given(crop=st.floats(0.08, 1.0), flip=st.sampled_from([0.0, 0.5, 1.0]), seed=seeds)
def test_crops_lie_inside_and_keep_their_share_and_shape(crop, flip, seed):
    width, height, left, top, mirrored = box(View(crop=crop, flip=flip), seed)
    for start, length in ((left, width), (top, height)):
        assert start.min() > -1e-9
        assert (start + length).max() < 1 + 1e-9
    area, ratio = width * height, width / height
    assert area.min() > crop - 1e-9
    assert area.max() < 1 + 1e-9
    assert ratio.min() > 3 / 4 - 1e-9
    assert ratio.max() < 4 / 3 + 1e-9
    assert torch.equal(mirrored, View(crop=crop, flip=flip).draw(64, generator(seed))["chance"][:, 0] < flip)


def test_crops_are_spread_over_all_that_is_allowed():
    width, height, left, top, _ = box(View(crop=0.2), 5, n=2000)
    area, ratio = width * height, width / height
    assert area.min() < 0.22
    assert area.max() > 0.9
    assert ratio.min() < 0.77
    assert ratio.max() > 1.3
    for start, length in ((left, width), (top, height)):
        free = (length < 0.95).nonzero()[:, 0]
        place = (start / (1 - length))[free]
        assert abs(place.mean() - 0.5) < 0.03  # uniform: a standard error of 0.007
        assert abs(place.std() - 12**-0.5) < 0.02


def test_a_crop_of_everything_is_the_picture():
    x = pictures()
    torch.testing.assert_close(seen(View(crop=1.0), x), x, **EXACT)


@pytest.mark.parametrize("view", ALL)
def test_switching_a_step_off_leaves_the_others_as_they_were(view):
    """The same is drawn, and pictures that the step would have spared are the same views."""
    x = pictures(40)
    drawn = view.draw(40, generator(1))
    before = view.apply(x, drawn)
    for place, step in enumerate(STEPS):
        without = replace(view, **{step: 0.0})
        again = without.draw(40, generator(1))
        assert all(torch.equal(drawn[name], again[name]) for name in drawn)
        spared = drawn["chance"][:, place] >= getattr(view, step)
        torch.testing.assert_close(without.apply(x, again)[spared], before[spared], **EXACT)


@pytest.mark.parametrize("view", ALL)
@settings(max_examples=8, deadline=None)
@given(first=st.integers(0, 11), length=st.integers(1, 12), seed=seeds)
def test_a_part_of_the_batch_has_that_part_of_the_views(view, first, length, seed):
    x = pictures(12, seed=seed, dtype=torch.float32)
    drawn, mine = view.draw(12, generator(seed)), slice(first, first + length)
    torch.testing.assert_close(view.apply(x[mine], part(drawn, mine)), view.apply(x, drawn)[mine], rtol=0, atol=1e-6)


@pytest.mark.parametrize("view", ALL)
@pytest.mark.parametrize("size", [(8, 8), (48, 32), (64, 64)])
def test_every_policy_keeps_size_type_and_range(view, size):
    x = pictures(32, *size, dtype=torch.float32)
    before = x.clone()
    for seed in range(5):
        y = seen(view, x, seed)
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert y.min() >= 0
        assert y.max() <= 1
    assert torch.equal(x, before)


def enhanced(x, kind, factors):
    """By Pillow, whose pictures are bytes."""
    made = [
        np.asarray(kind(Image.fromarray((one.permute(1, 2, 0) * 255).round().byte().numpy())).enhance(float(factor)))
        for one, factor in zip(x, factors, strict=True)
    ]
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).double() / 255


@pytest.mark.parametrize(
    ("name", "place", "kind"),
    [
        ("brightness", 0, ImageEnhance.Brightness),
        ("contrast", 1, ImageEnhance.Contrast),
        ("saturation", 2, ImageEnhance.Color),
    ],
)
def test_brightness_contrast_and_saturation_are_those_of_pillow(name, place, kind):
    x = pictures(24)
    view = View(color=1.0, **(STILL | {name: 0.8}))
    drawn = view.draw(24, generator(2))
    factors = 1 + 0.8 * drawn["jitter"][:, place]
    assert factors.min() < 0.5
    assert factors.max() > 1.5
    torch.testing.assert_close(view.apply(x, drawn), enhanced(x, kind, factors), rtol=0, atol=2 / 255)


def test_hue_turns_the_color_wheel_by_its_share():
    x = pictures(24)
    view = View(color=1.0, **(STILL | {"hue": 0.4}))
    drawn = view.draw(24, generator(3))
    expected = torch.empty_like(x)
    for i, one in enumerate(x):
        turn = 0.4 * float(drawn["jitter"][i, 3])
        for row, column in np.ndindex(*one.shape[1:]):
            h, s, v = colorsys.rgb_to_hsv(*one[:, row, column].tolist())
            expected[i, :, row, column] = torch.tensor(colorsys.hsv_to_rgb((h + turn) % 1, s, v), dtype=x.dtype)
    torch.testing.assert_close(view.apply(x, drawn), expected, rtol=0, atol=1e-6)


def test_colors_change_in_the_order_that_is_drawn():
    x = pictures()
    view = View(color=1.0, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.4)
    drawn = view.draw(6, generator(4))
    for order in ([3, 2, 1, 0], [1, 0, 2, 3]):
        expected = x
        for step in order:
            name = list(STILL)[step]
            expected = replace(view, **(STILL | {name: getattr(view, name)})).apply(expected, drawn)
        torch.testing.assert_close(view.apply(x, drawn | {"order": torch.tensor(order)}), expected, **EXACT)


def test_gray_is_the_luma_in_every_channel():
    x = pictures()
    luma = 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2]  # ITU-R BT.601
    torch.testing.assert_close(seen(View(gray=1.0), x), luma[:, None].expand_as(x), rtol=0, atol=1e-6)


def test_solarizing_inverts_from_the_middle_on():
    x = pictures()
    expected = torch.where((x * 255).round() >= 128, 1 - x, x)
    torch.testing.assert_close(seen(View(solarize=1.0), x), expected, **EXACT)


@pytest.mark.parametrize(("side", "kernel", "scale"), [(8, 3, 1), (32, 3, 1), (64, 7, 1), (224, 23, 1), (448, 45, 2)])
def test_blur_has_a_kernel_of_a_tenth_and_a_sigma_that_grows_above_224(side, kernel, scale):
    x = pictures(5, side, side + 1)[3:]
    view = View(blur=1.0)
    drawn = view.draw(2, generator(6))
    assert 0.1 <= drawn["sigma"].min() <= drawn["sigma"].max() <= 2.0
    expected = np.empty(x.shape)
    for i, one in enumerate(x.numpy()):
        sigma = scale * float(drawn["sigma"][i])
        rows = gaussian_filter1d(one, sigma, axis=1, mode="mirror", radius=kernel // 2)
        expected[i] = gaussian_filter1d(rows, sigma, axis=2, mode="mirror", radius=kernel // 2)
    torch.testing.assert_close(view.apply(x, drawn), torch.from_numpy(expected), rtol=0, atol=1e-6)


def test_lab_is_cielab():
    """IEC 61966-2-1 for sRGB, and CIE 15 under D65."""
    x = pictures()
    linear = torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    white = torch.tensor([0.95047, 1.0, 1.08883], dtype=x.dtype)[:, None, None]
    t = torch.einsum("ij,njhw->nihw", torch.tensor(to_xyz, dtype=x.dtype), linear) / white
    f = torch.where(t > (6 / 29) ** 3, t.clamp(min=1e-9) ** (1 / 3), t / (3 * (6 / 29) ** 2) + 4 / 29)
    lightness, color = lab(x)
    torch.testing.assert_close(lightness, (116 * f[:, 1:2] - 16) / 100, rtol=0, atol=5e-4)
    expected = torch.stack([500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1) / 110
    torch.testing.assert_close(color, expected, rtol=0, atol=5e-4)


@given(
    name=st.sampled_from(["crop", *STEPS, *STILL]),
    value=st.floats(max_value=0, exclude_max=True) | st.floats(min_value=1, exclude_min=True) | st.just(float("nan")),
)
def test_fields_out_of_their_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"{name} of a view must lie in .0, (0\.5|1)\], got"):
        View(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("crop", 0.0), ("hue", 0.6)])
def test_borders_of_ranges(name, value):
    with pytest.raises(ValueError, match=f"{name} of a view"):
        View(**{name: value})
    View(crop=None, hue=0.5, flip=1.0, brightness=0.0)
