"""The demos' command lines: images and videos, detection and pose."""
import argparse
import itertools
import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, Optional

import cv2

from mmyolonas.inference.inference import InferenceOptions, Predictor
from mmyolonas.inference.tracking import TRACKERS, Tracker
from mmyolonas.inference.writers import JsonLinesWriter, VideoWriter
from mmyolonas.utils import arguments
from mmyolonas.utils.cli import add_config_options, new_parser
from mmyolonas.utils.errors import UserError, refuse_not_numbers
from mmyolonas.utils.files import write_image
from mmyolonas.utils.images import Frame, VideoSource, find_images, iter_images
from mmyolonas.utils.optional import require
from mmyolonas.utils.outputs import check_distinct, check_file, check_folder
from mmyolonas.utils.progress import track

_IMAGES = '''Find {what} in images.

Writes a drawn copy of each image and one line per image to predictions.jsonl:
{{"source", "width", "height", "detections": [{{"label", "class", "score", "box": [x1, y1, x2,
y2]{points}}}, ...]}}, in pixels of the image. Files that cannot be read are named and left out.
'''
_VIDEO = '''Find {what} in a video, frame by frame.

SOURCE is a file, the number of a camera or the address of a stream. Memory does not grow with the
length. Writes the drawn video and, to a .jsonl file beside it, one line per frame:
{{"source", "frame", "seconds", "width", "height", "detections": [...]}}. Ctrl-C (or q in the
window) ends it and keeps what was written.
'''


def _parser(text: str, pose: bool) -> argparse.ArgumentParser:
    points = ', "keypoints": [[x, y, score], ...]' if pose else ''
    what = 'poses' if pose else 'objects'
    parser = new_parser(text.format(what=what, points=points))
    add_config_options(parser)
    parser.add_argument('checkpoint', help='checkpoint of the model')
    return parser


def _add_options(parser: argparse.ArgumentParser, pose: bool) -> None:
    parser.add_argument('--score-thr', type=arguments.share, default=0.25, help='smallest score '
                        '(default: 0.25)')
    parser.add_argument('--iou-thr', type=arguments.share,
                        help='overlap above which the weaker of two '
                        "boxes is dropped (default: the config's)")
    parser.add_argument('--max-per-img', type=arguments.positive_int,
                        help='most detections of an image')
    if pose:
        parser.add_argument('--keypoint-thr', type=arguments.share, default=0.3,
                            help='smallest score of a '
                            'key point that is drawn (default: 0.3)')
    else:
        parser.add_argument('--classes', nargs='+', help='keep these classes only, by name or '
                            'number')
        parser.add_argument('--class-agnostic', action='store_true', help='let boxes of different '
                            'classes suppress each other')
    parser.add_argument('--device', type=arguments.device, help='for example cuda:0 or cpu')
    parser.add_argument('--batch-size', type=arguments.positive_int, default=1,
                        help='images at a time (default: 1)')
    parser.add_argument('--no-fuse', action='store_true', help='do not re-parameterise the model')


def _predictor(args: argparse.Namespace) -> Predictor:
    refuse_not_numbers()
    options = InferenceOptions(
        score_thr=args.score_thr, iou_thr=args.iou_thr, max_per_img=args.max_per_img,
        classes=getattr(args, 'classes', None),
        # a second class of the same box would take its number away
        class_agnostic=getattr(args, 'class_agnostic', False) or bool(
            getattr(args, 'track', None)))
    return Predictor(args.config, args.checkpoint, options, args.device, not args.no_fuse,
                     args.cfg_options)


def batches(frames: Iterable[Frame], size: int) -> Iterator[List[Frame]]:
    """Yield lists of up to ``size`` frames; holds one list at a time."""
    frames = iter(frames)
    while batch := list(itertools.islice(frames, max(1, size))):
        yield batch


def _predict(predictor: Callable, frames: Iterable[Frame], size: int):
    """Yield each frame with its prediction."""
    for batch in batches(frames, size):
        yield from zip(batch, predictor([frame.image for frame in batch]))


def _record(frame: Frame, prediction, predictor: Predictor) -> dict:
    record = dict(source=frame.source)
    if frame.seconds is not None:
        record.update(frame=frame.index, seconds=round(frame.seconds, 4))
    height, width = frame.image.shape[:2]
    return dict(record, width=width, height=height,
                detections=prediction.records(predictor.classes))


def image_main(pose: bool = False) -> int:
    """Run the image demo; returns the exit code.

    Args:
        pose (bool): Whether the model is a pose estimator. Defaults to False.
    """
    parser = _parser(_IMAGES, pose)
    parser.add_argument('inputs', nargs='+', metavar='INPUT',
                        help="image files, folders, or patterns such as 'photos/**/*.jpg'")
    _add_options(parser, pose)
    parser.add_argument('--out-dir', default='outputs', help='folder for the results '
                        '(default: outputs)')
    parser.add_argument('--no-draw', action='store_true', help='write predictions.jsonl only')
    args = parser.parse_args()
    check_folder(args.out_dir, '--out-dir')
    paths = find_images(args.inputs)
    if not args.no_draw and os.path.realpath(args.out_dir) in {
            os.path.realpath(path.parent) for path in paths}:
        raise UserError(f'--out-dir {args.out_dir} holds images that are read: their drawn copies '
                        'would overwrite them. Give another folder.')
    predictor = _predictor(args)
    out, failures, found, used = Path(args.out_dir), [], 0, set()
    frames = iter_images(paths, failures)
    with JsonLinesWriter(out / 'predictions.jsonl') as lines:
        pairs = _predict(predictor, frames, args.batch_size)
        for frame, prediction in track(pairs, 'images', len(paths)):
            lines.write(_record(frame, prediction, predictor))
            found += len(prediction)
            if not args.no_draw:
                drawn = predictor.draw(frame.image, prediction,
                                       getattr(args, 'keypoint_thr', 0.3))
                _write_image(out / _free_name(Path(frame.source), used), drawn)
    done = len(paths) - len(failures)
    print(f'{done} of {len(paths)} images, {found} {"poses" if pose else "objects"}: {out}')
    if not done:
        raise UserError('none of the images could be read.')
    return 0


def _free_name(path: Path, used: set) -> str:
    """Return a name for a drawn copy; images of the same name get a number."""
    suffix = path.suffix if path.suffix.lower() in ('.jpg', '.jpeg', '.png', '.webp') else '.png'
    name, number = f'{path.stem}{suffix}', 1
    while name in used:
        name, number = f'{path.stem}_{number}{suffix}', number + 1
    used.add(name)
    return name


def _write_image(path: Path, image) -> None:
    write_image(path, image)


def _video_parser(pose: bool) -> argparse.ArgumentParser:
    parser = _parser(_VIDEO, pose)
    parser.add_argument('source', metavar='SOURCE', help='video file, camera number, or address')
    _add_options(parser, pose)
    parser.add_argument('--out', help='video to write (default: outputs/<name>.mp4; for a camera '
                        'outputs/camera.mp4)')
    parser.add_argument('--json', help='JSON lines file to write (default: beside the video)')
    parser.add_argument('--no-video', action='store_true', help='write the JSON lines only')
    parser.add_argument('--show', action='store_true', help='show the frames in a window')
    parser.add_argument('--stride', type=arguments.positive_int, default=1,
                        help='take every n-th frame (default: 1)')
    parser.add_argument('--max-frames', type=arguments.positive_int,
                        help='stop after so many frames')
    parser.add_argument('--track', nargs='?', const='bytetrack', choices=sorted(TRACKERS),
                        help='follow objects through the video (packages trackers and '
                        'supervision), boxes of all classes suppress each other; default: '
                        'bytetrack')
    if not pose:
        parser.add_argument('--slice', type=arguments.positive_int, metavar='PIXELS',
                            help='look at overlapping parts of so many pixels, for small objects '
                            'in large frames (package sahi)')
    return parser


def video_main(pose: bool = False) -> int:
    """Run the video demo; returns the exit code.

    Args:
        pose (bool): Whether the model is a pose estimator. Defaults to False.
    """
    args = _video_parser(pose).parse_args()
    out = Path(args.out or _default_video(args.source))
    json_path = Path(args.json) if args.json else out.with_suffix('.jsonl')
    check_file(json_path, '--json')
    check_distinct({'--out': None if args.no_video else out, '--json': json_path},
                   {'the source itself': args.source})
    if not args.no_video:
        check_file(out)
    source = VideoSource(args.source, args.stride, args.max_frames)
    for package in ['trackers'] * bool(args.track) + ['sahi'] * bool(getattr(args, 'slice', None)):
        _check_package(package)
    tracker = Tracker(args.track, source.fps / source.stride) if args.track else None
    predictor = _predictor(args)
    predict = _sliced(predictor, args) if getattr(args, 'slice', None) else predictor
    count = found = 0
    with ExitStack() as stack, suppress(KeyboardInterrupt):  # the writers complete their files
        lines = stack.enter_context(JsonLinesWriter(json_path))
        video = None
        if not args.no_video:
            video = stack.enter_context(VideoWriter(out, source.fps / source.stride))
        pairs = _predict(predict, source, args.batch_size)
        for frame, prediction in track(pairs, 'frames', len(source) or None):
            if tracker is not None:
                prediction = tracker.update(prediction, frame.image)
            lines.write(_record(frame, prediction, predictor))
            count, found = count + 1, found + len(prediction)
            if video is None and not args.show:
                continue
            drawn = _drawn(frame.image, prediction, predictor, tracker, args)
            if video is not None:
                video.write(drawn)
            if args.show and not _show(drawn):
                break
    print(f'{count} frames, {found} {"poses" if pose else "objects"}: '
          f'{json_path}' + ('' if args.no_video else f', {out}'))
    return 0


def _check_package(name: str) -> None:
    """Raise a UserError if an optional package is missing."""
    try:
        require(name, dict(trackers='--track', sahi='--slice')[name])
    except ImportError as error:
        raise UserError(str(error)) from error


def _sliced(predictor: Predictor, args: argparse.Namespace) -> Callable:
    """Return the predictor in parts of the image."""
    from mmyolonas.inference.sahi_model import Slicer
    return Slicer(predictor, args.slice, batch_size=args.batch_size)


def _drawn(image, prediction, predictor: Predictor, tracker: Optional[Tracker],
           args: argparse.Namespace):
    """Return the frame with its detections; of tracks with their numbers and ways."""
    if tracker is None or predictor.is_pose:
        image = predictor.draw(image, prediction, getattr(args, 'keypoint_thr', 0.3))
    return image if tracker is None else tracker.draw(image, prediction, predictor.classes)


def _default_video(source: str) -> Path:
    if source.isdigit() or '://' in source:
        return Path('outputs/camera.mp4')
    return Path('outputs') / f'{Path(source).stem}.mp4'


def _show(image) -> bool:
    """Show a frame; returns False when the user pressed q."""
    try:
        cv2.imshow('mmyolonas', image)
        return cv2.waitKey(1) & 0xFF != ord('q')
    except cv2.error as error:
        raise UserError('--show needs an OpenCV with windows (opencv-python, not '
                        'opencv-python-headless) and a display.') from error
