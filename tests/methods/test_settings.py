"""Settings: the constants of a row, read from its functions, and the same row with others."""

import dataclasses
import inspect
import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize, one_hot

from torchicon import IDENTITIES, TABLE
from torchicon.methods import Inspired, find, smoothed
from torchicon.methods.claims import NO_CLAIM
from torchicon.methods.method import asked_by
from torchicon.neighborhoods import Cosine, Positives

EVERY_ROW = pytest.mark.parametrize("method", [*TABLE, *IDENTITIES], ids=str)
CHANGED = {  # another valid value of each setting, on every example
    "bandwidth": 0.8,
    "df": 3.0,
    "drawn_from": 10,
    "entropy_weight": 0.3,
    "exponent": 2.0,
    "feature_weight": 3.0,
    "gamma": 1.3,
    "iterations": 70,
    "k": 2,
    "kappa": 1.5,
    "labeled_weight": 0.4,
    "margin": 0.4,
    "negatives": 4,
    "prior": 0.05,
    "scale": 1.2,
    "share": 0.3,
    "size": 7,
    "smoothing": 0.25,
    "target_temperature": 0.6,
    "tau_1": 0.7,
    "tau_2": 0.9,
    "teacher_temperature": 0.08,
    "temperature": 0.35,
}


def problem_of(method):
    return method.example(torch.Generator().manual_seed(3))


def others(n):
    return ~torch.eye(n, dtype=torch.bool)


def contrast(score, group):
    """Mean of -log of the softmax over the others, at the other member of the group."""
    log_q = score.masked_fill(~others(len(group)), -math.inf).log_softmax(1)
    return -log_q[(group[:, None] == group) & others(len(group))].mean()


def exactly(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_settings_are_read_from_the_row():
    assert find("SimCLR").settings == {"temperature": 0.1}
    assert find("Kernel-InfoNCE (sum of losses)").settings == {"tau_1": 0.4, "tau_2": 0.3, "share": 0.8}
    assert find("BALL+").settings == {"size": 12, "iterations": 100, "temperature": 0.07}
    assert find("t-SNE").settings == {}


@EVERY_ROW
def test_its_own_settings_are_the_row(method):
    assert method.at(**method.settings) is method
    assert method.at() is method


@EVERY_ROW
def test_every_setting_can_be_changed_and_changed_back(method):
    """Each alone: the loss moves, the tensors asked for do not, and the way back ends at the loss of the row."""
    problem = problem_of(method)
    for name, value in method.settings.items():
        changed = method.at(**{name: CHANGED[name]})
        assert changed.settings == {**method.settings, name: CHANGED[name]}
        assert (changed.claim, changed.oracle) == (NO_CLAIM, None)
        assert [asked_by(term.q) for term in changed.terms] == [asked_by(term.q) for term in method.terms]
        again = changed.at(**{name: value})
        assert again.settings == method.settings
        assert torch.equal(again.loss(problem), method.loss(problem))
        assert not torch.isclose(changed.loss(problem), method.loss(problem), rtol=1e-6, atol=0), name


def test_temperature_of_simclr():
    problem = problem_of(find("SimCLR"))
    z = normalize(problem["z"], dim=1)
    exactly(find("SimCLR").at(temperature=0.35).loss(problem), contrast(z @ z.T / 0.35, problem["image"]))


def test_factor_of_moco_follows_its_temperature():
    problem = problem_of(find("MoCo v3"))
    (a, b), (key_a, key_b) = (normalize(problem[name], dim=1).chunk(2) for name in ("z", "teacher"))
    own = torch.arange(len(a))
    both = cross_entropy(a @ key_b.T / 0.35, own) + cross_entropy(b @ key_a.T / 0.35, own)
    exactly(find("MoCo v3").at(temperature=0.35).loss(problem), 2 * 0.35 * both)


def test_size_of_a_ball():
    """The 7 rows that are nearest to the own one, of which it is one."""
    problem = problem_of(find("BALL"))
    score = normalize(problem["z"], dim=1) @ problem["bank"].T / 0.07
    own = problem["bank"][problem["index"]]
    near = torch.cdist(own, problem["bank"]).topk(7, largest=False).indices
    in_ball = one_hot(near, len(problem["bank"])).sum(1).bool()
    expected = cross_entropy(score.masked_fill(~in_ball, -math.inf), problem["index"])
    exactly(find("BALL").at(size=7).loss(problem), expected)


def test_iterations_of_a_shrinking_ball():
    """From all 30 rows to 10, of which half are gone when a quarter of the training is over."""
    problem = problem_of(find("BALL+")) | {"iteration": torch.tensor(50)}
    shrinking = find("BALL+").at(size=10, iterations=200)
    exactly(shrinking.loss(problem), find("BALL").at(size=20).loss(problem))


def test_share_of_the_kernel_losses():
    problem = problem_of(find("Kernel-InfoNCE (sum of losses)"))
    z = normalize(problem["z"], dim=1)
    distance = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")
    first, second = contrast(-distance / 0.7, problem["image"]), contrast(-distance.square() / 0.3, problem["image"])
    exactly(find("Kernel-InfoNCE (sum of losses)").at(share=0.3, tau_1=0.7).loss(problem), 0.3 * first + 0.7 * second)


def test_neighbors_of_dcd_are_those_of_its_weights():
    problem = problem_of(find("DCD"))
    nearest = torch.cdist(problem["x"], problem["x"]).fill_diagonal_(math.inf).topk(2, largest=False).indices
    graph = one_hot(nearest, len(problem["x"])).sum(1).double()
    graph = (graph + graph.T) / 2
    phi = problem["logits"].softmax(1)
    p, q = graph / graph.sum(1, keepdim=True), (phi / phi.sum(0)) @ phi.T
    expected = (graph * (torch.where(p > 0, p, 1.0).log() - q.log())).sum()
    exactly(find("DCD").at(k=2).loss(problem), expected)


def test_weights_of_crlc():
    problem = problem_of(find("CRLC"))
    phi, image = problem["logits"].softmax(1), problem["image"]
    smooth, z = 0.75 * phi + 0.25 / 4, normalize(problem["z"], dim=1)
    entropies = [torch.special.entr(view.mean(0)).sum() for view in phi.chunk(2)]
    even = math.log(4) - torch.stack(entropies).mean()
    expected = contrast((smooth @ smooth.T).log(), image) + 0.3 * even + 3.0 * contrast(z @ z.T / 0.35, image)
    changed = find("CRLC").at(smoothing=0.25, entropy_weight=0.3, feature_weight=3.0, temperature=0.35)
    exactly(changed.loss(problem), expected)
    assert [term.coefficient for term in changed.terms] == [1.0, 0.3, 3.0]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("SimCLR", {"temprature": 0.2}, r"SimCLR has no setting 'temprature'. Did you mean temperature\? .*=0.1."),
        ("BALL", {"size": 5, "iterations": 9}, r"no setting 'iterations'. Its settings: size=12, temperature=0.07\."),
        ("t-SNE", {"perplexity": 5}, r"t-SNE has no setting 'perplexity'. Its settings: none\."),
        ("SimCLR", {"z": 1.0}, "no setting 'z'"),
    ],
)
def test_unknown_names_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        find(name).at(**settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor": lambda temperature=0.2: temperature}, "temperature has the defaults 0.1 and 0.2"),
        ({"factor": lambda z: 1.0}, r"factor asks for \['z'\], it takes settings only"),
        (
            {"p": lambda image, z=3: Positives()(image), "q": lambda z: Cosine()(z)},
            r"\['z'\] are tensors in one function and, having a default, settings",
        ),
    ],
)
def test_rows_with_two_meanings_of_a_name_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(find("SimCLR"), **change)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("SimCLR", {"walks": 2, "teacher": True}),
        ("MoCo v3", {"debias_q": 0.3}),
        ("BALL", {"debias_p": 0.2, "debias_q": 0.3}),
        ("CRLC", {"teacher": True, "debias_q": 0.3}),
    ],
)
def test_smoothing_keeps_the_settings(name, how):
    """Smoothed at other constants, or at other constants smoothed: one row."""
    method = find(name)
    changed = {setting: CHANGED[setting] for setting in method.settings}
    one, other = smoothed(method.at(**changed), **how), smoothed(method, **how).at(**changed)
    problem = problem_of(one)
    assert one.settings == other.settings == changed
    assert isinstance(other.claim, Inspired)
    exactly(other.loss(problem), one.loss(problem))


def test_functions_of_a_changed_row_still_take_tensors_in_order():
    """As an estimator calls them."""
    method = find("K-Means").at(bandwidth=0.8)
    x = problem_of(method)["x"]
    exactly(method.p(x).dense(), find("K-Means").p(x, bandwidth=0.8).dense())
    assert list(inspect.signature(method.p).parameters) == ["x", "bandwidth"]
