#!/usr/bin/env bash
# Evaluate on several GPUs of one machine, or of several (NNODES, NODE_RANK, MASTER_ADDR).
# Usage: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [OPTIONS OF tools/test.py]
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n 's/^# //p' "$0"
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
ROOT=$(cd "$(dirname "$0")/.." && pwd)

PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" \
exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$GPUS" \
    "$ROOT/tools/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
