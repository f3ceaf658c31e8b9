#!/usr/bin/env bash
# A quarter of an hour on a GPU, spent well: facts, correctness, speed, packing, a fast training, one seed of a table.
#
#   bench/gpu.sh --out FOLDER [--data IMAGES.npz] [--wheels FOLDER] [--minutes 9] [--rehearse] [--stages facts,steps]
#
# Needs Python 3.11 to 3.13 with torch, torchvision, numpy, scipy, scikit-learn, pandas, safetensors, tqdm, pyyaml and
# matplotlib, and no network. Wheels in a folder (bench/gpu_wheels.sh makes it) add snakemake and torch-pruning to them.
# Rows come as FOLDER/*.csv; `python -m bench.gpu --merge FOLDER` adds them to docs/results/gpu/.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
wheels=""
for ((i = 1; i <= $#; i++)); do
	if [ "${!i}" = "--wheels" ]; then
		next=$((i + 1))
		wheels=${!next}
	fi
done
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
if [ -n "$wheels" ]; then
	site=$(mktemp -d)
	"$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl ||
		echo "gpu.sh: the wheels in $wheels cannot be installed; the stages that need them say so" >&2
	# behind what the machine has: torch and numpy stay its own
	export PYTHONPATH="$PYTHONPATH:$site" PATH="$PATH:$site/bin"
fi
exec "$python" -m bench.gpu "$@"
