"""Encoders, projection head and output head."""

from simclr_lib.models.encoders import evaluating, feature_dim, timm_call, timm_encoder
from simclr_lib.models.resnet import STEMS, ResNet, Stem, resnet18, resnet34, resnet50
from simclr_lib.models.simclr import Classifier, OutputHead, ProjectionHead, SimCLR

__all__ = [
    "STEMS",
    "Classifier",
    "OutputHead",
    "ProjectionHead",
    "ResNet",
    "SimCLR",
    "Stem",
    "evaluating",
    "feature_dim",
    "resnet18",
    "resnet34",
    "resnet50",
    "timm_call",
    "timm_encoder",
]
