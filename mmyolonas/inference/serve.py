"""The command line of the example server."""
import argparse
import os

from mmyolonas.inference.batching import BatchingOptions
from mmyolonas.inference.server import ServerOptions, build_app
from mmyolonas.runtime.runtime import Runtime
from mmyolonas.utils import arguments
from mmyolonas.utils.cli import new_parser
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.optional import require

_TEXT = '''Serve an exported file by HTTP, with FastAPI.

An example to start from: batches, limits on uploads, health, 503 with Retry-After when too many
requests wait. It knows no users and no encryption: put it behind a proxy that does. POST /detect
takes the bytes of an image file, /docs describes the rest.
'''
_EXAMPLES = '''examples:
  pip install fastapi uvicorn
  python demo/serve.py deployed/end2end.onnx --port 8000
  curl --data-binary @street.jpg http://127.0.0.1:8000/detect
  python demo/serve.py deployed/end2end.onnx --max-batch 16 --max-waiting 128 --max-mib 4'''


def _parse_args() -> argparse.Namespace:
    limits, waits = ServerOptions(), BatchingOptions()
    parser = new_parser(_TEXT, _EXAMPLES)
    parser.add_argument('model', help='exported file; with a free batch size '
                        '(configs/deploy/*_dynamic-batch.py) requests run together')
    parser.add_argument('--backend', help='runtime (default: by the suffix)')
    parser.add_argument('--device', default='cpu', help='default: cpu')
    parser.add_argument('--threads', type=arguments.positive_int, help='threads of the runtime')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen at (default: '
                        '127.0.0.1, this machine alone)')
    parser.add_argument('--port', type=arguments.integer(0, 65535), default=8000,
                        help='default: 8000')
    parser.add_argument('--score-thr', type=arguments.share, default=limits.score_threshold,
                        help='smallest score that is sent (default: %(default)s)')
    parser.add_argument('--max-batch', type=arguments.positive_int, default=waits.max_batch,
                        help='images that run together, at most (default: %(default)s)')
    parser.add_argument('--max-delay', type=arguments.not_negative, metavar='MS',
                        default=waits.max_delay * 1e3,
                        help='milliseconds that the first waits for others (default: %(default)s)')
    parser.add_argument('--max-waiting', type=arguments.positive_int, default=waits.max_waiting,
                        help='requests that may wait; more get 503 (default: %(default)s)')
    parser.add_argument('--max-mib', type=arguments.positive, default=limits.max_bytes / 2**20,
                        help='MiB of an upload, at most (default: %(default)s)')
    parser.add_argument('--max-pixels', type=arguments.positive_int, default=limits.max_pixels,
                        help='pixels of an image, at most (default: %(default)s)')
    return parser.parse_args()


def serve_main() -> None:
    """Run the server until it is stopped.

    Raises:
        UserError: An option does not fit.
        ImportError: fastapi or uvicorn is not installed.
    """
    args = _parse_args()
    uvicorn = require('uvicorn', 'Serving')
    require('fastapi', 'Serving')
    options = ServerOptions(
        int(args.max_mib * 2**20), args.max_pixels, args.score_thr,
        BatchingOptions(args.max_batch, args.max_delay / 1e3, args.max_waiting))
    if not os.path.isfile(args.model):
        raise UserError(f'{args.model} does not exist; make it with tools/deploy.py.')
    runtime = Runtime(args.model, args.backend, args.device, args.threads, args.max_batch)
    if runtime.batch_size == 1 < args.max_batch:
        print(f'{args.model} takes one image at a time: requests wait for each other but do not '
              'run together. A *_dynamic-batch config of configs/deploy makes a file that '
              'batches.')
    uvicorn.run(build_app(runtime, options), host=args.host, port=args.port,
                log_level='warning', timeout_graceful_shutdown=30)
