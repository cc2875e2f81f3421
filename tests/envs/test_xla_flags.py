import pytest

from envs import xla_flags


@pytest.mark.parametrize(
    ("jaxlib", "before", "after"),
    [
        ("0.10.2", None, "--xla_cpu_use_fusion_emitters=false"),
        ("0.10.2", "--xla_a=1", "--xla_a=1 --xla_cpu_use_fusion_emitters=false"),
        ("0.10.2", "--xla_cpu_use_fusion_emitters=true", "--xla_cpu_use_fusion_emitters=true"),
        ("0.11.0", None, None),
        ("0.12.0.1", "--xla_a=1", "--xla_a=1"),
    ],
)
def test_only_affected_versions_get_the_flag(monkeypatch, jaxlib, before, after):
    monkeypatch.setattr(xla_flags, "version", lambda _: jaxlib)
    monkeypatch.setenv("XLA_FLAGS", before or "")  # so that what is set here is taken back
    if before is None:
        monkeypatch.delenv("XLA_FLAGS")
    xla_flags.repair_cpu_compiler()
    assert xla_flags.os.environ.get("XLA_FLAGS") == after
