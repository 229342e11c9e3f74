"""Anchors draw what is near a known class, and leave the rest."""

import torch
from torch.nn import functional as F

from ml.anchors import Anchors
from ml.network import EmbeddingNetwork


def clouds(kinds: int = 4, each: int = 30, dim: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Points around the axes of a space."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(kinds).repeat_interleave(each)
    return F.normalize(torch.eye(dim)[labels] + 0.12 * torch.randn(len(labels), dim, generator=generator)), labels


def test_what_is_near_a_class_comes_nearer_to_its_own_kind():
    embeddings, labels = clouds()
    anchors = Anchors.at_means(embeddings, labels, torch.ones(len(labels), dtype=torch.bool), pull=1.0)

    drawn = F.normalize(anchors(embeddings))

    same = labels[:, None] == labels[None, :]
    assert (drawn @ drawn.T)[same].mean() > (embeddings @ embeddings.T)[same].mean() + 0.05


def test_what_is_near_none_stays_where_it_is():
    embeddings, labels = clouds()
    anchors = Anchors.at_means(embeddings, labels, torch.ones(len(labels), dtype=torch.bool), pull=1.0)
    strange = F.one_hot(torch.tensor([9, 12]), 16).float()

    moved = F.normalize(anchors(strange))

    assert F.cosine_similarity(strange, moved).min() > 0.95


def test_classes_without_pull_only_compete():
    embeddings, labels = clouds()
    anchors = Anchors.at_means(embeddings, labels, labels < 2, pull=1.0)

    assert anchors.pull.tolist() == [1, 1, 0, 0]
    others = labels >= 2
    moved = F.cosine_similarity(embeddings, anchors(embeddings))
    assert moved[others].min() > 0.99
    assert moved[~others].mean() < moved[others].mean()


def test_the_sharp_softmax_is_not_rounded_under_autocast():
    embeddings, labels = clouds()
    anchors = Anchors.at_means(embeddings, labels, labels < 2, pull=1.0)

    with torch.autocast("cpu", torch.bfloat16):
        rounded = anchors(embeddings)

    torch.testing.assert_close(rounded, anchors(embeddings))


def test_a_network_with_fresh_anchors_answers_as_without():
    torch.manual_seed(0)
    network = EmbeddingNetwork("tf_efficientnetv2_b0", dim=8).eval()
    pooled = torch.randn(3, network.features)
    plain = network.embed(pooled)

    network.anchors = Anchors(5, 8)

    torch.testing.assert_close(network.embed(pooled), plain)
