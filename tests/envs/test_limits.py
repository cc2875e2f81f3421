import jax
import pytest

from envs import limits


@pytest.mark.parametrize(
    ("jaxlib", "device", "task", "limit"),
    [
        ("0.10.2", "cpu", "throw", 128),
        ("0.10.2", "cpu", "pick", 128),
        ("0.10.2", "cpu", "push", None),
        ("0.10.2", "gpu", "throw", None),
        ("0.11.0", "cpu", "throw", None),
        ("0.12.0.1", "cpu", "pick", None),
        ("1.0.0", "cpu", "pick", None),
    ],
)
def test_only_batches_that_may_hang_are_limited(monkeypatch, jaxlib, device, task, limit):
    monkeypatch.setattr(limits, "version", lambda package: jaxlib)
    monkeypatch.setattr(jax, "default_backend", lambda: device)
    assert limits.largest_batch(task) == limit
    limits.check_batch(task, limit or 8192)


def test_a_larger_batch_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(limits, "version", lambda package: "0.10.2")
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    expected = r"^129 environments of throw may hang .* at most 128, or Python 3\.12 or newer.*\.$"
    with pytest.raises(ValueError, match=expected) as caught:
        limits.check_batch("throw", 129)
    assert "\n" not in str(caught.value)
