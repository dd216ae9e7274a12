"""Estimate poses in images; see --help."""
from mmyolonas.inference.demo import image_main
from mmyolonas.utils.cli import run_main

if __name__ == '__main__':
    run_main(lambda: image_main(pose=True))
