#!/usr/bin/env bash
# Wheels for a machine that has torch and the scientific packages but no network: snakemake, torch-pruning, optuna and all
# that they need beside those, for Python 3.12 on x86-64 Linux, in the versions of requirements.txt. bench/gpu.sh takes them.
#
#   bench/gpu_wheels.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?usage: bench/gpu_wheels.sh FOLDER}
names="snakemake snakemake-interface-common snakemake-interface-executor-plugins snakemake-interface-logger-plugins
	snakemake-interface-report-plugins snakemake-interface-scheduler-plugins snakemake-interface-storage-plugins
	annotated-types argparse-dataclass conda-inject configargparse docutils dpath fastjsonschema gitdb
	gitpython greenlet humanfriendly immutables jsonschema jsonschema-specifications jupyter-core mako nbformat platformdirs
	pulp pydantic pydantic-core referencing rpds-py smart-open smmap sqlalchemy sqlmodel tenacity throttler traitlets
	typing-inspection yte torch-pruning optuna alembic colorlog"
# published as source alone; pure Python, so that any Python's wheel serves
sources="connection-pool"
pin() { # the requirement of a name, as requirements.txt has it
	grep -m 1 -iE "^${1//[-_]/[-_]}==" requirements.txt | cut -d ' ' -f 1 ||
		{ echo "gpu_wheels.sh: requirements.txt has no $1" >&2; exit 1; }
}
pins=$(for name in $names; do pin "$name"; done)
platforms=$(printf -- '--platform manylinux_2_%s_x86_64 ' 34 31 28 27 24 17 5; echo --platform manylinux2014_x86_64 --platform manylinux1_x86_64)
mkdir -p "$folder"
# shellcheck disable=SC2086
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
	--implementation cp $platforms --dest "$folder" $pins
for name in $sources; do
	python3 -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$folder" "$(pin "$name")"
done
du -sh "$folder"
