#!/bin/sh
# Makes the Python environment: `sh requirements/environment.sh run|dev|bench`; each includes the ones before. `agent` is run and the
# extra of the RL agent, beside dev and bench; `infra` is an environment by itself, in a VENV of its own. The Makefile calls it; it
# costs nothing where all is there.
# PYTHON is the interpreter (3.11 to 3.13), VENV the folder. A stamp, written last, names the locked requirements that are
# installed: an interrupted installation has no stamp and is done again.
set -eu
cd "$(dirname "$0")/.."
kind=$1
python=${PYTHON:-python3}
venv=${VENV:-.venv}

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 2; }

command -v "$python" >/dev/null 2>&1 || fail "there is no $python; install Python 3.11 to 3.13 (Debian: sudo apt-get install python3) or say PYTHON=/path/to/python3"
version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])') || fail "$python does not start"
case $version in
    3.11.* | 3.12.* | 3.13.*) ;;
    *) fail "$python is Python $version; expected 3.11 to 3.13: say PYTHON=python3.12 or the path of another one" ;;
esac

case $kind in
    run) files=requirements/run.txt ;;
    dev) files='requirements/run.txt requirements/dev.txt' ;;
    bench) files='requirements/run.txt requirements/dev.txt requirements/bench.txt' ;;
    agent) files='requirements/run.txt requirements/agent.txt' ;;
    infra) files=requirements/infra.txt ;;
    *) fail "there is no environment '$kind'; expected run, dev, bench, agent or infra" ;;
esac
# torch's index has no build for CPUs alone: what its CUDA build does not load is left out of agent.txt, so nothing may ask for it.
[ "$kind" != agent ] || only_these="--no-deps --no-compile"
key() { { printf '%s %s\n' "$version" "$PWD"; cat "$@"; } | cksum | tr -c '0-9\n' '-'; }
# shellcheck disable=SC2086 # a list of files
stamp=$venv/requirements-$kind-$(key $files)
run_stamp=$venv/requirements-run-$(key requirements/run.txt)
dev_stamp=$venv/requirements-dev-$(key requirements/run.txt requirements/dev.txt)
project_stamp=$venv/project-$(key pyproject.toml)
[ "$kind" != infra ] || project_stamp=$stamp # it holds tools alone
[ -e "$stamp" ] && [ -e "$project_stamp" ] && exit 0

# The venv module of Debian's python3 lacks pip until python3-venv is installed.
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    package=python${version%.*}-venv
    as_root=
    [ "$(id -u)" = 0 ] || as_root='sudo -n'
    say "$python cannot make environments; trying: apt-get install $package"
    { $as_root apt-get update -q && $as_root apt-get install -qy --no-install-recommends "$package"; } >&2 ||
        fail "$python has no ensurepip; get it with: sudo apt-get install $package"
fi

if [ ! -x "$venv/bin/pip" ] || [ "$("$venv/bin/python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)" != "$version" ]; then
    say "creating the environment $venv with Python $version"
    rm -rf "$venv"
    "$python" -m venv "$venv" || { rm -rf "$venv"; fail "$python could not create $venv"; }
fi

unfinished="the installation did not finish; the lines above say why. Once that is mended, the same command goes on"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@" >&2; }
# Shows one line that counts packages instead of pip's many; what pip says when it fails is shown whole.
counted() {
    log=$venv/pip.log
    { "$@" 2>&1; echo "exit $?"; } | tee "$log" | awk -v terminal="$([ -t 2 ] && echo 1 || echo 0)" '
        /^ *Downloading|^ *Using cached/ { n++; if (terminal) printf "\r  %d packages, %s\033[K", n, $2 > "/dev/stderr" }
        /^Installing collected/ { printf "%s  installing %d packages\n", terminal ? "\r\033[K" : "", NF - 3 > "/dev/stderr" }
        /^exit / { code = $2 }
        END { exit code }' || { cat "$log" >&2; return 1; }
}

# Whether every package has what it needs; what the agent extra leaves out on purpose does not count.
is_consistent() {
    missing=$("$venv/bin/python" -m pip --disable-pip-version-check check | grep -Ev '^No broken|^(torch|nvidia-[a-z0-9-]*) [^ ]* requires .* not installed' || true)
    [ -z "$missing" ] || { say "$missing"; return 1; }
}

if [ ! -e "$stamp" ]; then
    rm -f "$venv/requirements-$kind-"*
    say "installing $files (once; a minute or two$([ "$kind" != agent ] || echo ", about 4 GB"))"
    # shellcheck disable=SC2046,SC2086 # options built from a list of files
    counted "$venv/bin/python" -m pip --disable-pip-version-check install --progress-bar off \
        --require-hashes --only-binary :all: ${only_these:-} $(printf -- ' -r %s' $files) || fail "$unfinished"
    is_consistent || fail "the environment is inconsistent: rm -rf $venv and start again"
    : >"$stamp"
    case $kind in run | dev | bench | agent) : >"$run_stamp" ;; esac # dev includes run, and bench includes dev
    case $kind in dev | bench) : >"$dev_stamp" ;; esac
fi
if [ ! -e "$project_stamp" ]; then
    rm -f "$venv/project-"*
    pip install --quiet --no-deps --no-build-isolation --editable . || fail "$unfinished"
    : >"$project_stamp"
fi
