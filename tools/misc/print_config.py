"""Print a config with everything that it inherits."""
from mmyolonas.utils.cli import add_config_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.files import write_text
from mmyolonas.utils.outputs import check_distinct, check_file


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__)
    add_config_options(parser)
    parser.add_argument('--save-path', help='write it to this file as well')
    return parser.parse_args()


def main() -> None:
    """Run the tool."""
    args = parse_args()
    check_file(args.save_path, '--save-path')
    check_distinct({'--save-path': args.save_path}, {'the config': args.config})
    text = load_config(args.config, args.cfg_options).pretty_text
    print(text)
    if args.save_path:
        write_text(args.save_path, text)


if __name__ == '__main__':
    run_main(main)
