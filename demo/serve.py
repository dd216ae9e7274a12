"""Serve an exported file by HTTP; see --help."""
from mmyolonas.inference.serve import serve_main
from mmyolonas.utils.cli import run_main

if __name__ == '__main__':
    run_main(serve_main)
