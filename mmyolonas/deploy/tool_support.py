"""What the deployment tools share."""
import logging
import warnings
from contextlib import contextmanager
from typing import Iterator

from mmyolonas.utils.errors import UserError


@contextmanager
def deploy_errors(log_level: str = 'WARNING') -> Iterator[None]:
    """Turn the errors this package explains into messages without a traceback.

    Args:
        log_level (str): Level of mmdeploy's and mmengine's messages.

    Raises:
        UserError: Something given does not fit; see the message.
    """
    for name in ('mmdeploy', 'mmengine'):
        logging.getLogger(name).setLevel(log_level.upper())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            yield
        except (ValueError, TypeError, FileNotFoundError, PermissionError, ImportError) as error:
            raise UserError(str(error)) from error
        except RuntimeError as error:
            if 'tensorrt' in str(error) or 'ONNX Runtime' in str(error):
                raise UserError(str(error)) from error
            raise
