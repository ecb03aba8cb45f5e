"""Characters: rows of a fixed alphabet, and the recurrent model that reads them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from protocols.errors import AgreementError, InputError, MisuseError
from securefed.data import Data
from securefed.learning import build_task
from securefed.learning.evaluation import accuracy, predict_proba
from securefed.learning.language import Alphabet, character_windows
from securefed.learning.models import build_model
from securefed.learning.reference import fit
from securefed.learning.torch_parameters import TorchParameters
from securefed.learning.training import loss_of, training_loss

LETTERS = Alphabet("abcd")
SETTINGS = {
    "model": "gru",
    "features": 8,
    "classes": LETTERS.classes,
    "hidden": [6, 16],
    "standardize": False,
    "optimizer": "adam",
    "learning_rate": 0.03,
    "local_steps": 10,
    "clip_norm": 100.0,
}


def text(seed, length=400):
    """Runs up the alphabet or down it, turning at random at either end only."""
    rng = np.random.default_rng(seed)
    return "".join("abcd" if up else "dcba" for up in rng.integers(0, 2, length // 4))


def parts():
    return [character_windows(text(seed), LETTERS, length=8) for seed in range(3)]


# Rows


def test_an_alphabet_reads_back_what_it_knows_and_numbers_the_rest_0():
    assert LETTERS.numbers("dab?").tolist() == [4, 1, 2, 0]
    assert LETTERS.text(LETTERS.numbers("dab?")) == "dab�"
    assert Alphabet().text(Alphabet().numbers("To be,\nor not")) == "To be,\nor not"
    for wrong in ("", "aba"):
        with pytest.raises(MisuseError, match="alphabet"):
            Alphabet(wrong)


def test_a_row_is_a_stretch_of_text_and_its_label_what_follows():
    data = character_windows("abcdabc", LETTERS, length=3, stride=2)
    assert data.features.tolist() == [[1, 2, 3], [3, 4, 1]]
    assert data.labels.tolist() == [4, 2]
    with pytest.raises(InputError, match="a row with its label takes 4"):
        character_windows("abc", LETTERS, length=3)
    with pytest.raises(MisuseError, match="at least 1"):
        character_windows("abc", LETTERS, length=0)


# The model


def test_the_training_loss_is_the_mean_over_all_prefixes_of_a_row():
    module = build_model(TorchParameters.model_validate(SETTINGS))
    data = parts()[0]
    features = torch.from_numpy(data.features[:5].astype(np.float32))
    labels = torch.from_numpy(data.labels[:5].astype(np.int64))
    whole = torch.cat([features, labels[:, None].float()], dim=1)
    with torch.no_grad():
        prefixes = [loss_of(module(whole[:, :k]), whole[:, k].long()) for k in range(1, 9)]
        together = training_loss(module, features, labels)
    assert float(together) == pytest.approx(float(torch.stack(prefixes).mean()), abs=1e-5)


def test_initial_weights_follow_from_the_seed_alone_and_stay_in_their_ranges():
    one = build_model(TorchParameters.model_validate(SETTINGS))
    torch.manual_seed(99)
    two = build_model(TorchParameters.model_validate(SETTINGS))
    other = build_model(TorchParameters.model_validate({**SETTINGS, "seed": 1}))
    for name, weight in one.named_parameters():
        assert torch.equal(weight, dict(two.named_parameters())[name])
        assert not torch.equal(weight, dict(other.named_parameters())[name])
        largest = 1.0 if name.startswith("embedding") else 0.25
        assert 0.5 * largest < float(weight.detach().abs().max()) <= largest


@pytest.mark.parametrize("server", [{}, {"server": "adam", "server_learning_rate": 0.05}])
def test_three_companies_learn_the_text_together(server):
    tables = parts()
    task = build_task("torch", {**SETTINGS, **server})
    done = fit(task, tables, rounds=8)
    # Two of three places of a run of four are sure, once its first letter is seen.
    held = character_windows(text(9), LETTERS, length=8, stride=3)
    start = accuracy(held.labels, predict_proba(task, task.initial_state(), held.features))
    end = accuracy(held.labels, predict_proba(task, done.state, held.features))
    assert end > max(0.75, start + 0.2)
    assert done.history[-1]["loss"] < done.history[0]["loss"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hidden": [16]}, "two sizes"),
        ({"standardize": True}, "scaling destroys"),
        ({"classes": 2}, "3 classes"),
    ],
)
def test_a_gru_that_cannot_work_is_refused_with_the_agreement(changes, told):
    with pytest.raises(AgreementError, match=told):
        build_task("torch", {**SETTINGS, **changes})


def test_a_gru_under_noise_is_refused_by_name():
    with pytest.raises(AgreementError, match="take no gru") as caught:
        build_task("dp-torch", {"features": 8, "model": "gru", "classes": 5, "hidden": [6, 16]})
    assert caught.value.key.endswith("standardize")


@pytest.mark.parametrize("wrong", [-1.0, 5.0, 1.5])
def test_numbers_outside_of_the_alphabet_are_refused_at_the_party(wrong):
    data = parts()[0]
    features = data.features.copy()
    features[2, 3] = wrong
    task = build_task("torch", SETTINGS)
    with pytest.raises(InputError, match="no character number from 0 to 4"):
        task.contribute(
            task.initial_state(), Data(features, data.labels), 1, np.random.default_rng(0)
        )
