"""Detect objects in images; see --help."""
from mmyolonas.inference.demo import image_main
from mmyolonas.utils.cli import run_main

if __name__ == '__main__':
    run_main(image_main)
