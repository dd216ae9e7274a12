"""Other packages' scripts run with the repairs in place."""
import sys

import pytest

from mmyolonas import run
from tests.test_compat import run_python


def test_script_sees_the_package_its_arguments_and_its_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', sys.argv)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    (tmp_path / 'neighbour.py').write_text('VALUE = 7')
    script = tmp_path / 'script.py'
    script.write_text('import neighbour, sys\n'
                      "print(__name__, sys.argv[1:], neighbour.VALUE, 'mmyolonas' in sys.modules)")
    run.main([str(script), '--flag', 'x'])
    assert capsys.readouterr().out.strip() == "__main__ ['--flag', 'x'] 7 True"


@pytest.mark.parametrize('script, message', [
    ('nowhere.py', "no script 'nowhere.py'"),
    ('no_such_package::tools/train.py', "'no_such_package' is not installed"),
    ('mmdet::tools/nothing.py', 'nothing.py'),
])
def test_bad_script_is_one_sentence(script, message):
    with pytest.raises(SystemExit, match=message):
        run.main([script])


def test_help(capsys):
    run.main(['--help'])
    assert 'mmdet::tools/test.py' in capsys.readouterr().out


@pytest.mark.long
def test_mmdet_test_tool_starts():
    """mmdet's tools/test.py imports mmcv.ops before it could read a config."""
    out = run_python('''
        import sys
        from mmyolonas import run
        try:
            run.main(['mmdet::tools/test.py', '--help'])
        except SystemExit as error:
            assert not error.code
    ''')
    assert 'MMDet test' in out
