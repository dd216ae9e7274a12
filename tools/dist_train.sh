#!/usr/bin/env bash
# Train on several GPUs of one machine, or of several (NNODES, NODE_RANK, MASTER_ADDR).
# Usage: bash tools/dist_train.sh CONFIG GPUS [OPTIONS OF tools/train.py]
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n 's/^# //p' "$0"
    exit 2
fi
CONFIG=$1
GPUS=$2
ROOT=$(cd "$(dirname "$0")/.." && pwd)

PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" \
exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$ROOT/tools/train.py" "$CONFIG" --launcher pytorch "${@:3}"
