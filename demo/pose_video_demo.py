"""Estimate poses in videos; see --help."""
from mmyolonas.inference.demo import video_main
from mmyolonas.utils.cli import run_main

if __name__ == '__main__':
    run_main(lambda: video_main(pose=True))
