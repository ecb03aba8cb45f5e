import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import InputError
from securefed.data import (
    Data,
    breast_cancer_companies,
    dirichlet_split,
    load_breast_cancer,
    load_party_data,
    save_party_data,
    train_test_split,
)
from securefed.data.table import concatenate

X = np.arange(6.0).reshape(3, 2)
Y = np.array([0, 1, 1])


def test_party_data_survives_its_file(tmp_path):
    path = tmp_path / "data.npz"
    save_party_data(path, Data(X, Y))
    data = load_party_data(path, features=2)
    np.testing.assert_array_equal(data.features, X)
    np.testing.assert_array_equal(data.labels, Y)
    assert data.features.dtype == data.labels.dtype == np.float64


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"features": X}, "exactly features and labels"),
        ({"features": X, "labels": Y, "names": Y}, "exactly features and labels"),
        ({"features": X, "labels": Y[:2]}, "3 rows and labels 2"),
        ({"features": X[0], "labels": Y}, "features has 1 dimensions"),
        ({"features": X, "labels": Y[:, None]}, "labels has 2 dimensions"),
        ({"features": X[:0], "labels": Y[:0]}, "at least one row"),
        ({"features": X.astype(str), "labels": Y}, "features has dtype"),
        ({"features": X.astype(object), "labels": Y}, "features in data.npz holds Python objects"),
        ({"features": X + 1j, "labels": Y}, "features has dtype complex128"),
        ({"features": np.where(X == 1, np.nan, X), "labels": Y}, "features holds NaN"),
        ({"features": np.where(X == 1, np.inf, X), "labels": Y}, "features holds Inf"),
        ({"features": X, "labels": np.array([0, 1, 2])}, r"labels holds values outside \{0, 1\}"),
        ({"features": X, "labels": np.array([0, 1, 0.5])}, r"labels holds values outside \{0, 1\}"),
        ({"features": X, "labels": np.array([0, 1, -1])}, r"labels holds values outside \{0, 1\}"),
        ({"features": X[:, :1], "labels": Y}, "1 columns and the agreement says 2"),
    ],
)
def test_unusable_party_data_is_refused_and_names_the_array(tmp_path, arrays, reason):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=reason):
        load_party_data(path, features=2)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    missing = tmp_path / "none.npz"
    with pytest.raises(InputError, match=r"none.npz cannot be read"):
        load_party_data(missing)
    with pytest.raises(InputError, match="cannot be read"):
        load_party_data(tmp_path)
    text = tmp_path / "text.npz"
    text.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"numpy.savez"):
        load_party_data(text)
    single = tmp_path / "single.npy"
    np.save(single, X)
    with pytest.raises(InputError, match="single array"):
        load_party_data(single)


@given(position=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_damaged_file_is_refused_or_read_never_a_crash(tmp_path_factory, position, value, cut):
    path = tmp_path_factory.mktemp("damaged") / "data.npz"
    save_party_data(path, Data(X, Y))
    raw = bytearray(path.read_bytes())
    raw[position % len(raw)] = value
    path.write_bytes(raw[: position % len(raw)] if cut else raw)
    with contextlib.suppress(InputError):
        load_party_data(path)


def test_rows_never_show_in_a_repr():
    assert repr(Data(X * 12345, Y)) == "Data(3 rows, 2 features)"


def test_labels_of_more_classes_are_read_when_the_task_has_them(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, features=X, labels=np.array([0, 2, 1]))
    assert len(load_party_data(path, classes=3)) == 3
    np.savez(path, features=X, labels=np.array([0, 3, 1]))
    with pytest.raises(InputError, match="outside 0 to 2"):
        load_party_data(path, classes=3)
    np.savez(path, features=X, labels=np.array([0.5, 17, -1]))
    assert len(load_party_data(path, classes=None)) == 3


def test_a_dirichlet_split_deals_every_row_once_and_is_seeded():
    data = load_breast_cancer()
    numbered = Data(np.arange(569.0)[:, None], data.labels)
    parts = dirichlet_split(numbered, companies=5, alpha=0.5, min_per_class=6, seed=3)
    rows = np.concatenate([part.features[:, 0] for part in parts])
    np.testing.assert_array_equal(np.sort(rows), np.arange(569))
    for part in parts:
        np.testing.assert_array_equal(part.labels, data.labels[part.features[:, 0].astype(int)])
        assert min(part.labels.sum(), len(part) - part.labels.sum()) >= 6
    again = dirichlet_split(numbered, companies=5, alpha=0.5, min_per_class=6, seed=3)
    assert all(np.array_equal(a.features, b.features) for a, b in zip(parts, again, strict=True))
    other = dirichlet_split(numbered, companies=5, alpha=0.5, min_per_class=6, seed=4)
    assert [len(part) for part in parts] != [len(part) for part in other]


def test_a_smaller_alpha_skews_the_labels_more():
    data = load_breast_cancer()

    def spread(alpha):
        shares = [
            part.labels.mean()
            for seed in range(20)
            for part in dirichlet_split(data, companies=5, alpha=alpha, min_per_class=2, seed=seed)
        ]
        return np.std(shares)

    assert spread(0.3) > 2 * spread(100)


def test_an_impossible_split_says_what_to_change():
    data = Data(np.zeros((6, 1)), np.array([0, 0, 0, 1, 1, 1]))
    with pytest.raises(InputError, match="raise alpha or lower min_per_class"):
        dirichlet_split(data, companies=3, alpha=1.0, min_per_class=2, seed=0)
    with pytest.raises(InputError, match="at least 2"):
        dirichlet_split(data, companies=1, alpha=1.0, min_per_class=0, seed=0)
    with pytest.raises(InputError, match="strictly between"):
        train_test_split(data, test_fraction=1.0, seed=0)


def test_the_demonstration_holds_out_a_stratified_test_set():
    split = breast_cancer_companies()
    assert len(split.parts) == 5
    assert sum(len(part) for part in split.parts) + len(split.test) == 569
    held, kept = split.test.labels.mean(), concatenate(split.parts).labels.mean()
    assert abs(held - kept) < 0.01
    shares = [part.labels.mean() for part in split.parts]
    assert max(shares) - min(shares) > 0.4


def test_parts_of_different_schemas_are_not_pooled():
    with pytest.raises(InputError, match="different numbers of features"):
        concatenate([Data(X, Y), Data(X[:, :1], Y)])
