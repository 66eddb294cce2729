"""Measures of frozen features: kNN, linear probe, geometry, and pictures of the embedding."""

from simclr_lib.evaluation.classifier import accuracy, balanced_accuracy
from simclr_lib.evaluation.features import extract_features, pixel_features, projected
from simclr_lib.evaluation.geometry import alignment, effective_rank, principal_variances, uniformity
from simclr_lib.evaluation.knn import knn_accuracy, knn_predict, knn_votes, suitable_k, votes_of_labelled
from simclr_lib.evaluation.linear import ProbeResult, linear_probe
from simclr_lib.evaluation.neighbors import near_duplicates, nearest_neighbors
from simclr_lib.evaluation.projection import Film, make_film, project, trustworthiness
from simclr_lib.evaluation.protocol import evaluate_features, labels_needed
from simclr_lib.evaluation.shifts import SHIFTS, shifted
from simclr_lib.models import evaluating, feature_dim
from simclr_lib.results import summary

__all__ = [
    "SHIFTS",
    "Film",
    "ProbeResult",
    "accuracy",
    "alignment",
    "balanced_accuracy",
    "effective_rank",
    "evaluate_features",
    "evaluating",
    "extract_features",
    "feature_dim",
    "knn_accuracy",
    "knn_predict",
    "knn_votes",
    "labels_needed",
    "linear_probe",
    "make_film",
    "near_duplicates",
    "nearest_neighbors",
    "pixel_features",
    "principal_variances",
    "project",
    "projected",
    "shifted",
    "suitable_k",
    "summary",
    "trustworthiness",
    "uniformity",
    "votes_of_labelled",
]
