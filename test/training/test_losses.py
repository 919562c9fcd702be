"""The token loss: only masked tokens count, and near codes are hardly a mistake."""

import numpy as np
import pytest
import torch

from moro_ros.training.losses import near_codes, token_loss


def test_token_loss_counts_only_masked_tokens():
    logits = torch.zeros(1, 2, 3, 5)
    labels = torch.zeros(1, 2, 3, dtype=torch.int64)
    logits[0, 0, 0, 0] = 50.0
    masked = torch.zeros(1, 2, 3, dtype=torch.bool)
    masked[0, 0, 0] = True
    assert float(token_loss(logits, labels, masked)) < 1e-6
    masked[0, 1, 1] = True
    assert abs(float(token_loss(logits, labels, masked)) - np.log(5) / 2) < 1e-5


def test_near_codes_share_a_token_by_their_distance():
    codebook = torch.tensor([[0.0, 0.0], [1.0, 0.0], [8.0, 0.0]])
    shares = near_codes(codebook, 0.5)
    assert torch.allclose(shares.sum(1), torch.ones(3))
    assert (shares.diagonal() > 0.5).all()
    assert shares[0, 1] > 0.05 > shares[0, 2]
    near, far = (torch.full((1, 1, 1, 3), -5.0) for _ in range(2))
    near[..., 1], far[..., 2] = 5.0, 5.0
    label, masked = torch.zeros(1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1, dtype=torch.bool)
    losses = [float(token_loss(logits, label, masked, shares)) for logits in (near, far)]
    assert losses[0] < losses[1]
    assert float(token_loss(near, label, masked)) == pytest.approx(
        float(token_loss(far, label, masked))
    )
