"""ArcFace against pytorch-metric-learning, whose margin is in degrees."""

import math

import pytest
import torch
from pytorch_metric_learning.losses import ArcFaceLoss, SubCenterArcFaceLoss
from torch.nn import functional as F

from ml.training.arcface import ArcFace

CLASSES, DIM = 7, 16


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    return F.normalize(torch.randn(40, DIM)).requires_grad_(), torch.arange(40) % CLASSES


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.2])
@pytest.mark.parametrize("scale", [16.0, 64.0])
def test_loss_and_gradient_are_those_of_pytorch_metric_learning(batch, margin, scale):
    embeddings, labels = batch
    ours = ArcFace(CLASSES, DIM, margin=margin, scale=scale)
    theirs = ArcFaceLoss(CLASSES, DIM, margin=math.degrees(margin), scale=scale)
    theirs.W.data = ours.weight.data.T.clone()

    loss, reference = ours(embeddings, labels), theirs(embeddings, labels)

    assert loss.item() == pytest.approx(reference.item(), rel=1e-5, abs=1e-5)
    gradients = [torch.autograd.grad(value, embeddings, retain_graph=True)[0] for value in (loss, reference)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("centers", [1, 3])
def test_sub_centres_are_those_of_pytorch_metric_learning(batch, centers):
    embeddings, labels = batch
    ours = ArcFace(CLASSES, DIM, margin=0.4, scale=30, centers=centers)
    theirs = SubCenterArcFaceLoss(
        num_classes=CLASSES, embedding_size=DIM, margin=math.degrees(0.4), scale=30, sub_centers=centers
    )
    theirs.W.data = ours.weight.data.T.clone()

    assert ours(embeddings, labels).item() == pytest.approx(theirs(embeddings, labels).item(), rel=1e-5)


def test_opposite_and_equal_vectors_have_finite_gradients():
    loss = ArcFace(2, 4, margin=0.5)
    embeddings = torch.stack([F.normalize(loss.weight[0], dim=0), -F.normalize(loss.weight[1], dim=0)]).detach()
    embeddings.requires_grad_()

    loss(embeddings, torch.tensor([0, 1])).backward()

    assert embeddings.grad.isfinite().all()


def test_classes_that_are_no_rivals_do_not_push_one_another(batch):
    embeddings, labels = batch
    folders = torch.tensor([0] * 3 + list(range(1, CLASSES - 2)))
    loss = ArcFace(CLASSES, DIM, folders=folders)

    loss(embeddings, labels % 3).backward()

    assert loss.weight.grad[:3].abs().sum() > 0
    assert loss.weight.grad[3:].abs().sum() == 0


def test_centres_start_at_the_means_of_their_classes(batch):
    embeddings, labels = batch
    loss = ArcFace(CLASSES, DIM)

    loss.initialize(embeddings.detach(), labels)

    expected = F.normalize(embeddings[labels == 2].mean(0), dim=0)
    torch.testing.assert_close(loss.weight[2], expected)
