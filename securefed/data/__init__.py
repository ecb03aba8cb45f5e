"""Data at a party: loading, checking and, for demonstrations, splitting."""

from securefed.data.demo import breast_cancer_companies
from securefed.data.loaders import load_breast_cancer, load_party_data, save_party_data
from securefed.data.partition import Split, dirichlet_split, train_test_split
from securefed.data.schema import Column, Schema
from securefed.data.table import Data

__all__ = [
    "Column",
    "Data",
    "Schema",
    "Split",
    "breast_cancer_companies",
    "dirichlet_split",
    "load_breast_cancer",
    "load_party_data",
    "save_party_data",
    "train_test_split",
]
