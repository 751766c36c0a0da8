"""Views of space: electrodes by name, labels with them, rotations, leads; and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from biocl.errors import UsageError
from biocl.signals.recording import Channel
from biocl.views.draws import Draws
from biocl.views.requirements import check_views
from biocl.views.signal import SignalInfo, mirror, mirror_classes, mirrored_class, mirrored_site, site_of, triads
from biocl.views.space import rotation
from biocl.views.spec import Reflect, Rotate
from biocl.views.view import View

Make = Callable[..., View]
# The 22 channels and four classes of BNCI2014001, with its public names.
BNCI = [
    "Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz",
    "C2", "C4", "C6", "CP3", "CP1", "CPz", "CP2", "CP4", "P1", "Pz", "P2", "POz",
]  # fmt: skip
MOTOR = SignalInfo(
    250.0, tuple(Channel(name, "eeg", "uV") for name in BNCI), ("feet", "left_hand", "right_hand", "tongue")
)


def test_reflection_is_an_involution_and_carries_labels_by_name(apply: Make) -> None:
    x = torch.randn(40, 22, 30)
    view = View(x, target=torch.arange(40) % 5 - 1)
    once = apply(view, "reflect", signal=MOTOR)
    twice = apply(once, "reflect", signal=MOTOR)
    assert torch.equal(twice.x, x)
    assert torch.equal(twice.target, view.target)
    assert not twice.relabelled.any()
    # feet 0 and tongue 3 stay, left 1 and right 2 change places, unknown stays unknown.
    assert once.target[:5].tolist() == [-1, 0, 2, 1, 3]
    assert once.relabelled[:5].tolist() == [True, False, True, True, False]
    for name, partner in (("C3", "C4"), ("FC1", "FC2"), ("C5", "C6"), ("Cz", "Cz"), ("POz", "POz")):
        assert torch.equal(once.x[:, BNCI.index(name)], x[:, BNCI.index(partner)])


def test_labels_follow_their_samples_when_only_some_are_reflected(apply: Make) -> None:
    x = torch.randn(200, 22, 4)
    view = View(x, target=torch.full((200,), 1))
    made = apply(view, {"reflect": "left-right", "p": 0.5}, signal=MOTOR)
    reflected = (made.x != x).flatten(1).any(dim=1)
    assert 70 < reflected.sum() < 130
    assert torch.equal(made.target, torch.where(reflected, 2, 1))
    assert torch.equal(made.relabelled, reflected)


@pytest.mark.parametrize(
    ("written", "site"),
    [
        ("Fc5.", "fc5"),
        ("EEG C3-REF", "c3"),
        ("EEG Fp1-LE", "fp1"),
        ("T3", "t3"),
        ("POZ", "poz"),
        ("Fp1-F7", "fp1-f7"),
        ("AFF5h", "aff5h"),
        ("A1", "a1"),
        ("EEG 3", None),
        ("ch12", None),
        ("VEOG", None),
    ],
)
def test_sites_are_read_as_files_spell_them(written: str, site: str | None) -> None:
    assert site_of(written) == site


def test_mirrored_sites_and_classes() -> None:
    pairs = {"c3": "c4", "fp1": "fp2", "p10": "p9", "cz": "cz", "fp1-f7": "fp2-f8", "aff5h": "aff6h", "t5": "t6"}
    assert {site: mirrored_site(site) for site in pairs} == pairs
    assert all(mirrored_site(mirrored_site(site)) == site for site in pairs)
    assert mirrored_class("left_hand") == "right_hand"
    assert mirrored_class("imagined Right fist") == "imagined Left fist"
    assert mirrored_class("LEFT") == "RIGHT"
    assert mirrored_class("bright light") == "bright light"
    assert mirror_classes(("feet", "left_hand", "right_hand", "tongue")) == (0, 2, 1, 3)
    assert mirror(MOTOR)[BNCI.index("CP3")] == BNCI.index("CP4")


def eeg(*names: str) -> tuple[Channel, ...]:
    return tuple(Channel(name, "eeg", "uV") for name in names)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"channels": eeg("C3", "C4", "E12")}, "'E12' is not named after a site"),
        ({"channels": eeg("C3", "Cz", "C4", "F3")}, "'F3' has no partner F4"),
        ({"channels": eeg("C3", "C4", "c3.")}, "two EEG channels are at the site 'c3'"),
        ({"channels": (Channel("I", "ecg", "mV"),)}, "no EEG channel"),
        ({"classes": ("right_hand", "feet")}, "'right_hand' has no partner 'left_hand'"),
        ({"classes": ("left_hand", "right_hand", "left_foot")}, "'left_foot' has no partner"),
        ({"classes": ("alcoholic", "control")}, "no class is left or right"),
        ({"classes": ()}, "no class is left or right"),
    ],
)
def test_reflection_is_refused_without_a_montage_or_a_pair_of_classes(change: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why) as error:
        check_views({"space": [Reflect()]}, replace(MOTOR, **change))  # type: ignore[arg-type]
    assert "views.space.0" in str(error.value)
    check_views({"space": [Reflect()]}, MOTOR)


def imu(*names: str, device: str = "wrist", kind: str = "acc") -> tuple[Channel, ...]:
    return tuple(Channel(name, kind, "m/s2", device) for name in names)  # type: ignore[arg-type]


def test_rotation_turns_a_device_and_not_another(apply: Make) -> None:
    channels = (
        *imu("acc_z", "acc_x", "acc_y"),
        *imu("gyrX", "gyrY", "gyrZ", kind="gyr"),
        *imu("x_acc", "y_acc", "z_acc", device="ankle"),
        Channel("I", "ecg", "mV"),
    )
    known = SignalInfo(50.0, channels)
    assert triads(known) == (((1, 2, 0), (3, 4, 5)), ((6, 7, 8),))
    x = torch.randn(20, 10, 30)
    made = apply(View(x), "rotate", signal=known).x
    for columns in ([1, 2, 0], [3, 4, 5], [6, 7, 8]):
        torch.testing.assert_close(made[:, columns].norm(dim=1), x[:, columns].norm(dim=1), rtol=1e-4, atol=1e-4)
    assert torch.equal(made[:, 9], x[:, 9])
    for row in range(20):
        turns = [
            np.linalg.lstsq(x[row, columns].T.numpy(), made[row, columns].T.numpy(), rcond=None)[0].T
            for columns in ([1, 2, 0], [3, 4, 5], [6, 7, 8])
        ]
        np.testing.assert_allclose(turns[0], turns[1], atol=1e-4)
        assert not np.allclose(turns[0], turns[2], atol=1e-2)
        assert np.linalg.det(turns[0]) == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(turns[0] @ turns[0].T, np.eye(3), atol=1e-4)


def test_rotations_have_the_stated_angles_and_any_axis(draws: Callable[[], Draws]) -> None:
    turn = rotation(4000, 30.0, draws())
    angle = torch.rad2deg(((turn.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).acos())
    assert kstest(angle.numpy() / 30, "uniform").statistic < 0.03
    axis = torch.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], 1)
    axis = axis[angle > 2] / axis[angle > 2].norm(dim=1, keepdim=True)
    assert axis.mean(dim=0).abs().max() < 0.04
    assert all(kstest(axis[:, i].numpy(), "uniform", args=(-1, 2)).statistic < 0.035 for i in range(3))


@pytest.mark.parametrize(
    ("channels", "why"),
    [
        (imu("acc_x", "acc_y"), "axes x, y, not x, y and z"),
        (imu("acc_1", "acc_2", "acc_3"), "which axis"),
        (imu("acc_x", "acc-x", "acc_y", "acc_z"), "two acc channels of axis x"),
        (eeg("C3"), "no accelerometer"),
    ],
)
def test_rotation_is_refused_without_triads(channels: tuple[Channel, ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_views({"a": [Rotate()]}, SignalInfo(50.0, channels))


def test_rotation_is_refused_where_axes_were_scaled_one_by_one(signal: SignalInfo) -> None:
    check_views({"a": [Rotate()]}, signal)
    with pytest.raises(UsageError, match=r"data\.input_scale: kind"):
        check_views({"a": [Rotate()]}, replace(signal, scale="recording"))


def test_channels_are_shuffled_within_device_and_kind(batch: Make, apply: Make) -> None:
    view = batch(300, 4)
    made = apply(view, "channel-shuffle").x
    groups = [range(3), range(3, 5), range(5, 8), range(8, 11)]
    for row in range(300):
        for group in groups:
            came = [next(j for j in range(11) if torch.equal(made[row, i], view.x[row, j])) for i in group]
            assert sorted(came) == list(group)
    moved = (made != view.x).any(dim=2)
    assert moved[:, :3].float().mean() == pytest.approx(2 / 3, abs=0.05)
    assert moved[:, 3:5].float().mean() == pytest.approx(1 / 2, abs=0.07)


def test_one_channel_at_least_stays(batch: Make, apply: Make) -> None:
    view = batch(2000, 4)
    kept = (apply(view, {"channel-dropout": 0.2}).x != 0).any(dim=2)
    assert kept.float().mean() == pytest.approx(0.8, abs=0.01)
    nearly_all = (apply(view, {"channel-dropout": 0.99}).x != 0).any(dim=2).sum(dim=1)
    assert nearly_all.min() == 1


def test_leads_are_mixed_with_weights_of_norm_one(batch: Make, apply: Make, draws: Callable[[], Draws]) -> None:
    view = batch(500, 6)
    made = apply(view, {"lead-mix": 0.3}).x
    weights = draws().normal(500, 2, 2).numpy() * 0.3
    for row in range(500):
        mix = np.array([[1, weights[row, 0, 1]], [weights[row, 1, 0], 1]])
        mix /= np.sqrt((mix**2).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(made[row, 3:5].numpy(), mix @ view.x[row, 3:5].numpy(), atol=1e-5)
    others = [i for i in range(11) if i not in (3, 4)]
    assert torch.equal(made[:, others], view.x[:, others])
    assert math.isclose(weights[:, 0, 1].std(), 0.3, rel_tol=0.1)


def test_device_dropout_takes_whole_devices_and_leaves_one(batch: Make, apply: Make) -> None:
    """Three devices: cap (3 channels), chest (2), wrist (6)."""
    columns = [slice(0, 3), slice(3, 5), slice(5, 11)]
    view = batch(4000)
    out = apply(view, {"device-dropout": 0.3})
    assert out.present.shape == (4000, 3)
    assert out.present.any(dim=1).all()
    for number, mine in enumerate(columns):
        there = out.present[:, number]
        assert torch.equal(out.x[there, mine], view.x[there, mine])
        assert not out.x[~there, mine].any()
        # It stays with probability .7, or if all three would go and it has the luckiest draw.
        assert float(there.float().mean()) == pytest.approx(0.7 + 0.3**3 / 3, abs=0.03)
    # What is away stays away, and what is left of such a window is one that was there.
    again = apply(out, {"device-dropout": 0.9}, seed=1)
    assert not (again.present & ~out.present).any()
    assert again.present.any(dim=1).all()
    # Samples to which the step does not happen keep all their devices.
    some = apply(batch(400), {"device-dropout": 0.9, "p": 0.5})
    whole = (some.x == batch(400).x).flatten(1).all(dim=1)
    assert 100 < int(whole.sum()) < 300
    assert some.present[whole].all()
