"""The doctor names what is missing or broken, and how to cure it."""
import json

import pytest

from mmyolonas import compat, doctor


def make_report(*packages: doctor.Package, problems: list[str] | None = None) -> doctor.Report:
    return doctor.Report(
        mmyolonas='9.9', python='3.11', platform='test', devices=['CPU'],
        packages=list(packages), repairs=[
            compat.Repair('thing', 'old things', 'applied', 'it was broken'),
            compat.Repair('other', 'all')], problems=problems or [])


def test_this_environment_is_healthy(capsys):
    assert doctor.main(['--json']) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    packages = {package['module']: package for package in report['packages']}
    assert report['healthy'] and report['problems'] == []
    assert packages['torch']['version'] and packages['mmdet']['error'] is None
    assert [r['name'] for r in report['repairs']] == [r.name for r in compat.repairs()]


def test_text_names_versions_repairs_and_cures():
    installed = doctor.Package('torch', 'everything', 'cure-a', True, '2.0', 'torch')
    broken = doctor.Package('mmpose', 'pose', 'cure-b', False, '1.3', 'mmpose', 'bad wheel')
    missing = doctor.Package('optuna', 'search', 'cure-c')
    text = doctor.render(make_report(installed, broken, missing))
    lines = [line.split() for line in text.splitlines()]
    assert ['ok', 'torch', '2.0', 'everything'] in lines
    assert ['bad', 'wheel'] in lines and ['cure:', 'cure-b'] in lines
    assert ['cure-c'] in lines and 'cure-a' not in text
    assert 'applied     thing  (for old things)' in text and 'it was broken' in text
    assert text.endswith('Ready: detection can be trained here.')
    assert '\033' not in text


def test_colour_only_on_request():
    text = doctor.render(make_report(), colour=True)
    assert '\033[32m' in text


def test_missing_core_package_fails_with_its_command(monkeypatch, capsys):
    monkeypatch.setattr(
        doctor.compat, 'has_module', lambda name: name not in ('mmdet', 'optuna'))
    monkeypatch.setattr(doctor, '_CHECKS', {})
    assert doctor.main([]) == 1
    text = capsys.readouterr().out
    stack = 'onedl' if 'onedl-mmengine' in text else 'openmmlab'
    assert f"mmdet is missing: pip install 'mmyolonas[{stack}]'" in text
    assert 'optuna is missing' not in text


@pytest.mark.parametrize('error', [RuntimeError('operator nms does not exist'), OSError('')])
def test_broken_core_package_fails(monkeypatch, error):

    def check():
        raise error

    monkeypatch.setattr(doctor, '_CHECKS', {'mmcv': check})
    report = doctor.examine()
    assert not report.healthy
    assert f'mmcv is broken ({type(error).__name__}: {error})' in report.problems[0]


def test_two_providers_of_one_package_are_reported():
    package = doctor.Package('mmcv', 'layers', 'cure', True)
    doctor._probe(package, {'mmcv': ['numpy', 'packaging']})
    assert 'both installed and overwrite' in package.error


def test_cures_stay_with_the_fork_that_is_installed():
    cures = {onedl: {p.module: p.cure for p in doctor._packages(onedl)} for onedl in (True, False)}
    assert 'mmyolonas[openmmlab]' in cures[False]['mmdet']
    assert 'mmyolonas[onedl]' in cures[True]['mmdet']
    assert '--no-deps mmcv-lite' in cures[True]['mmcv']
