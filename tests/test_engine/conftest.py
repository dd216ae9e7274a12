import pytest


@pytest.fixture(autouse=True)
def quick_runner(monkeypatch):
    """Leave out what takes mmengine's runner seconds and concerns no test here."""
    from mmengine.config import Config
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)
    monkeypatch.setattr(Config, 'pretty_text', property(lambda cfg: ''))
    monkeypatch.setattr(Config, 'dump', lambda cfg, file=None: None)
