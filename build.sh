#!/usr/bin/env bash
# The only entry point: everything that is built, checked, tested or shown goes through here.
#
# Made once and kept: .venv (the project, editable, with its dev group), .venvs/X.Y (the same or the
# runtime client alone, on other Pythons), .tools/sam (template checks), .cache (logs, emulator).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

SAM_VERSION=1.170.0
RIE_SHA256_X86_64=6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5
RIE_SHA256_ARM64=ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21

usage() {
  cat <<'TEXT'
usage: ./build.sh COMMAND [ARGUMENTS]

  demo   [--bedrock]            two execution environments, a conversation, what it cost
  test   [--all] [--all-pythons] [PYTEST ARGUMENTS]
                                the test suite; --all adds the tests marked slow,
                                --all-pythons runs it on every Python found
  check                         formatting, lint, types, import contracts, scripts, template
  format                        apply the formatter, and the lint's own repairs
  layer  [--output DIRECTORY]   build dist/lambdallm-layer.zip and dist/lambdallm-opt.tar
         --redis                build dist/lambdallm-redis-layer.zip: redis-py, to attach beside it
  publish                       publish the layer; refuses one without bytecode for a Python
  bench  [--aws]                the benchmarks; --aws in a real account, cold and warm
  soak   [INVOCATIONS]          a long run with faults: nothing fails, nothing grows
         --models [MINUTES]     the same of model calls in every way, before models that fail
  smoke  --aws                  promises and facts that only a real account can show; deploys,
                                asks, removes. Both say what they would do without credentials
  prices [--generate | --accept WHY] [--compare FILE]
                                whether both price catalogues say anything new, in an environment
                                that is thrown away; --generate and --accept write the price book
  clean                         remove what this script has made, and caches
  help                          this text; demo, layer, publish, bench, soak and smoke have a
                                --help of their own

It needs Python 3.10 or newer (PYTHON=… names one) and a package index. The first run takes a
minute or two. Example: ./build.sh test tests/sdk -k session
TEXT
}

say() { if [ -t 2 ]; then printf '\033[2m· %s\033[0m\n' "$*" >&2; else printf '· %s\n' "$*" >&2; fi; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 3; }
misused() { printf 'build.sh: %s\n' "$*" >&2; exit 2; }

# Pythons

# A pyenv shim can be on the PATH and not run, so a candidate is one only when it does.
works() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 10))' >/dev/null 2>&1; }

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# Every Python from 3.10 on, "VERSION PATH" a line, oldest first, one for each version.
find_pythons() {
  {
    if [ -n "${PYTHON:-}" ]; then command -v "$PYTHON" || true; fi
    for name in python3.10 python3.11 python3.12 python3.13 python3.14 python3; do command -v "$name" || true; done
    if command -v pyenv >/dev/null; then ls -d "$(pyenv root)"/versions/*/bin/python3 2>/dev/null || true; fi
    if command -v uv >/dev/null; then uv python find 2>/dev/null || true; fi
    if command -v uv >/dev/null; then uv python list --only-installed 2>/dev/null | awk '{print $2}' || true; fi
  } | while IFS= read -r candidate; do
    works "$candidate" || continue
    "$candidate" -c 'import os, sys; v = sys.version_info; print(f"{v[0]}.{v[1]}", v.releaselevel, os.path.realpath(sys.executable))'
  done | awk '$2 == "final" && !seen[$1]++ {sub(" final ", " "); print}' | sort -t. -k2n
}

main_python() {
  if [ -n "${PYTHON:-}" ]; then
    works "$PYTHON" || fail "PYTHON=$PYTHON does not run, or is older than 3.10."
    command -v "$PYTHON"
    return
  fi
  local name found
  for name in python3 python3.13 python3.12 python3.11 python3.10 python3.14; do
    if command -v "$name" >/dev/null && works "$name"; then command -v "$name"; return; fi
  done
  found=$(find_pythons | tail -n 1)
  [ -n "$found" ] || fail "no Python 3.10 or newer was found. Install one, or name it: PYTHON=… ./build.sh …"
  printf '%s\n' "${found#* }"
}

# What is made once

# run LOG COMMAND…: quietly; when it fails, the end of what it printed.
run() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 && return
  grep -v '^WARNING: ' "$log" | tail -n 25 >&2 || true
  fail "this failed: $* (all it printed: $log)"
}

# The lock belongs to this shell's open file, so it outlives the Python that takes it and ends with
# the shell, however that ends. Not every system has a flock command.
locked() {
  local python
  python=$(main_python)
  mkdir -p .cache
  exec 9>.cache/lock
  "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null && return
  say "waiting for another ./build.sh to finish setting up"
  "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
}
unlocked() { exec 9>&-; }

pip() { "$1" -m pip --disable-pip-version-check --no-input "${@:2}"; }

# environment DIRECTORY PYTHON: a virtual environment with the project (editable) and its dev group.
# Its stamp is the last thing written, so one that was half made is completed or made anew.
environment() {
  local directory=$1 python=$2 stamp
  stamp=$("$python" -c 'import hashlib, os, sys; print(hashlib.sha256(open("pyproject.toml", "rb").read()).hexdigest()[:16], sys.version_info[:3], os.getcwd())')
  [ -f "$directory/.ready" ] && [ "$(cat "$directory/.ready")" = "$stamp" ] && "$directory/bin/python" -c '' 2>/dev/null && return
  local log=".cache/pip-${directory##*/}.log" started=$SECONDS
  say "setting up $directory with $("$python" --version) (once; a minute or two)"
  rm -f "$directory/.ready"
  if ! usable "$directory" "$python"; then
    rm -rf "$directory"
    make_environment "$directory" "$python"
  fi
  run "$log" pip "$directory/bin/python" install "pip>=25.1" # knows dependency groups
  run "$log" pip "$directory/bin/python" install --group dev --editable .
  printf '%s' "$stamp" >"$directory/.ready"
  say "$directory is ready ($((SECONDS - started)) s)"
}

usable() {
  [ -x "$1/bin/python" ] && [ "$(version_of "$1/bin/python" 2>/dev/null)" = "$(version_of "$2")" ] &&
    "$1/bin/python" -m pip --version >/dev/null 2>&1
}

make_environment() {
  "$2" -c 'import ensurepip' 2>/dev/null ||
    fail "$2 cannot make virtual environments: it lacks ensurepip (on Debian, the package python3-venv has it)."
  run .cache/venv.log "$2" -m venv "$1"
}

main_environment() {
  locked
  local python
  python=$(main_python)
  environment .venv "$python"
  unlocked
}

# Pythons beside the main one, for functions of another version: AWS's runtime client alone.
runtime_environments() {
  if [ "$(uname -s)" != Linux ]; then
    say "functions are tested on one Python: AWS's runtime client is built for Linux"
    return 0
  fi
  local client main version path directory
  client=$(sed -n 's/.*"awslambdaric==\([0-9.]*\).*/\1/p' pyproject.toml)
  main=$(version_of .venv/bin/python)
  while read -r version path; do
    directory=.venvs/$version
    [ "$version" = "$main" ] || [ -f "$directory/.ready" ] && continue
    [ -f "$directory/.runtime" ] && [ "$(cat "$directory/.runtime")" = "$client" ] && continue
    say "setting up $directory with AWS's runtime client (once)"
    rm -rf "$directory"
    if "$path" -m venv "$directory" >.cache/runtime.log 2>&1 &&
      pip "$directory/bin/python" install "awslambdaric==$client" >>.cache/runtime.log 2>&1; then
      printf '%s' "$client" >"$directory/.runtime"
    else
      say "no function is tested on Python $version: the runtime client cannot be installed (.cache/runtime.log)"
      rm -rf "$directory"
    fi
  done < <(find_pythons)
}

# AWS's Runtime Interface Emulator, as it is shipped inside aws-sam-cli.
runtime_interface_emulator() {
  [ -x .cache/rie/aws-lambda-rie ] && return 0
  local member expected
  case "$(uname -s) $(uname -m)" in
    "Linux x86_64") member=x86_64 expected=$RIE_SHA256_X86_64 ;;
    "Linux aarch64" | "Linux arm64") member=arm64 expected=$RIE_SHA256_ARM64 ;;
    *)
      say "AWS's emulator is left out: it runs on Linux, this is $(uname -s) on $(uname -m)"
      return 0
      ;;
  esac
  say "fetching AWS's Runtime Interface Emulator (from aws-sam-cli $SAM_VERSION, once)"
  rm -rf .cache/rie
  mkdir -p .cache/rie
  if ! pip .venv/bin/python download --no-deps --dest .cache/rie "aws-sam-cli==$SAM_VERSION" >.cache/rie.log 2>&1; then
    say "AWS's emulator is left out: aws-sam-cli $SAM_VERSION cannot be downloaded (.cache/rie.log)"
    return 0
  fi
  run .cache/rie.log .venv/bin/python - "samcli/local/rapid/aws-lambda-rie-$member" "$expected" <<'PYTHON'
import glob, hashlib, os, sys, zipfile

member, expected = sys.argv[1:]
(wheel,) = glob.glob(".cache/rie/*.whl")
with zipfile.ZipFile(wheel) as archive:
    program = archive.read(member)
found = hashlib.sha256(program).hexdigest()
if found != expected:
    sys.exit(f"{member} in {wheel} has sha256 {found}, expected {expected}")
draft = ".cache/rie/draft"
with open(draft, "wb") as file:
    file.write(program)
os.chmod(draft, 0o755)
os.unlink(wheel)
os.rename(draft, ".cache/rie/aws-lambda-rie")
PYTHON
}

# sam and cfn-lint pin versions of their own, so they get an environment of their own.
template_tools() {
  [ -f .tools/sam/.ready ] && [ "$(cat .tools/sam/.ready)" = "$SAM_VERSION" ] && .tools/sam/bin/python -c '' 2>/dev/null && return
  say "setting up .tools/sam with sam $SAM_VERSION and cfn-lint (once)"
  rm -rf .tools/sam
  make_environment .tools/sam .venv/bin/python
  run .cache/sam.log pip .tools/sam/bin/python install "aws-sam-cli==$SAM_VERSION" "cfn-lint>=1.58"
  printf '%s' "$SAM_VERSION" >.tools/sam/.ready
}

# The generator reads two catalogues of others' making; what one of them needs, the project does not.
prices() {
  local argument writes=no
  local arguments=()
  for argument in "$@"; do
    case "$argument" in
      --generate) writes=yes ;;
      --accept | --accept=*) writes=yes arguments+=("$argument") ;;
      *) arguments+=("$argument") ;;
    esac
  done
  [ "$writes" = yes ] || arguments+=(--check)
  local python
  python=$(main_python)
  mkdir -p .cache
  thrown_away=$(mktemp -d)
  trap 'rm -rf "$thrown_away"' EXIT
  say "reading both catalogues in an environment of its own (three downloads, about 20 MB)"
  make_environment "$thrown_away/environment" "$python"
  local genai_prices
  genai_prices=$(sed -n 's/.*"\(genai-prices==[0-9.]*\)".*/\1/p' extension/price_catalogues.py)
  [ -n "$genai_prices" ] || fail "extension/price_catalogues.py names no version of genai-prices."
  run .cache/prices.log pip "$thrown_away/environment/bin/python" install "$genai_prices"
  PYTHONDONTWRITEBYTECODE=1 "$thrown_away/environment/bin/python" extension/generate_price_book.py ${arguments[@]+"${arguments[@]}"}
}

# Commands

run_tests() {
  local all_pythons=no argument
  local arguments=(-n auto --maxprocesses 4) # whoever wants another number says -n after it
  arguments+=(--dist worksteal) # the slow tests stand side by side, so that one worker would get them all
  unset PYTHONDONTWRITEBYTECODE # or every process of the tests compiles anew what it loads
  for argument in "$@"; do
    case "$argument" in
      --all) arguments+=(-m "not aws") ;;
      --all-pythons) all_pythons=yes ;;
      *) arguments+=("$argument") ;;
    esac
  done
  main_environment
  locked
  runtime_environments
  runtime_interface_emulator
  unlocked
  if [ "$all_pythons" = no ]; then
    exec .venv/bin/python -m pytest "${arguments[@]}"
  fi
  local version path python failed=""
  while read -r version path <&3; do
    python=.venv/bin/python
    if [ "$version" != "$(version_of "$python")" ]; then
      locked
      environment ".venvs/$version" "$path"
      unlocked
      python=.venvs/$version/bin/python
    fi
    say "testing on Python $version"
    "$python" -m pytest "${arguments[@]}" 3<&- || failed="$failed $version"
  done 3< <(find_pythons)
  [ -z "$failed" ] || { printf 'failed on Python%s\n' "$failed" >&2; exit 1; }
}

check() {
  main_environment
  locked
  template_tools
  unlocked
  failed=""
  step "ruff check" .venv/bin/ruff check --no-fix .
  step "ruff format" .venv/bin/ruff format --check .
  step "mypy" .venv/bin/mypy
  step "import contracts" env PYTHONPATH=tests .venv/bin/lint-imports --no-logo
  step "shell scripts" check_scripts build.sh .ci/run layer/exec-wrapper layer/extensions/*
  step "cfn-lint" .tools/sam/bin/cfn-lint template.yaml examples/*/template.yaml
  step "sam validate" validate_templates template.yaml examples/*/template.yaml
  [ -z "$failed" ] || { printf 'check failed:%s\n' "${failed%,}" >&2; exit 1; }
}

validate_templates() {
  local template
  for template in "$@"; do
    SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 .tools/sam/bin/sam validate --lint --template "$template" || return
  done
}

step() {
  local name=$1 log
  log=$(mktemp)
  shift
  if "$@" >"$log" 2>&1; then
    printf '  ok      %s\n' "$name"
  else
    printf '  FAILED  %s\n' "$name"
    cat "$log"
    failed="$failed $name,"
  fi
  rm -f "$log"
}

check_scripts() {
  local script bad=0
  for script in "$@"; do bash -n "$script" || bad=1; done
  if [ -x .venv/bin/shellcheck ]; then .venv/bin/shellcheck --severity=warning "$@" || bad=1; fi
  return $bad
}

# A script's own help needs no environment, if the script imports the standard library alone.
help_of() {
  local python=.venv/bin/python
  [ -f .venv/.ready ] || python=$(main_python)
  exec "$python" "$@" --help
}

wants_help() {
  local argument
  for argument in "$@"; do case "$argument" in --help | -h) return 0 ;; esac; done
  return 1
}

command=${1:-help}
[ $# -eq 0 ] || shift
case "$command" in
  demo) wants_help "$@" && help_of examples/demo.py ;;
  layer) wants_help "$@" && help_of layer/build_layer.py build ;;
  publish) wants_help "$@" && help_of layer/build_layer.py publish ;;
  soak)
    case " $* " in
      *" --models "*) wants_help "$@" && help_of tests/faults/model_soak.py ;;
      *) wants_help "$@" && help_of tests/faults/soak.py ;;
    esac
    ;;
  smoke) wants_help "$@" && help_of benchmarks/aws smoke ;;
  bench)
    case " $* " in
      *" --aws "*) wants_help "$@" && help_of benchmarks/aws bench ;;
      *) wants_help "$@" && help_of benchmarks/run.py ;;
    esac
    ;;
  *) wants_help "$@" && command=help ;;
esac
case "$command" in
  check | format | clean) [ $# -eq 0 ] || misused "$command takes no arguments, not: $*" ;;
esac

case "$command" in
  demo) main_environment; exec .venv/bin/python examples/demo.py "$@" ;;
  test) run_tests "$@" ;;
  check) check ;;
  format) main_environment; .venv/bin/ruff check --fix --exit-zero --quiet .; .venv/bin/ruff format . ;;
  layer) main_environment; exec .venv/bin/python layer/build_layer.py build "$@" ;;
  publish) main_environment; exec .venv/bin/python layer/build_layer.py publish "$@" ;;
  soak)
    main_environment
    [ "${1:-}" != --models ] || exec .venv/bin/python tests/faults/model_soak.py "${@:2}"
    exec .venv/bin/python tests/faults/soak.py "$@"
    ;;
  smoke)
    [ "${1:-}" = --aws ] || misused "smoke runs in a real account: ./build.sh smoke --aws"
    main_environment
    exec .venv/bin/python benchmarks/aws smoke "${@:2}"
    ;;
  bench)
    if [ "${1:-}" = --aws ]; then
      main_environment
      exec .venv/bin/python benchmarks/aws bench "${@:2}"
    fi
    [ -f benchmarks/run.py ] || misused "there are no benchmarks yet"
    main_environment
    exec .venv/bin/python benchmarks/run.py "$@"
    ;;
  prices) prices "$@" ;;
  clean)
    rm -rf .venv .venvs .tools .cache dist build .lambdallm .aws-sam .hypothesis .coverage .coverage.* \
      .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
    find . -name __pycache__ -type d -prune -exec rm -rf {} +
    ;;
  help | --help | -h) usage ;;
  *) printf 'build.sh: there is no command %s\n\n' "$command" >&2; usage >&2; exit 2 ;;
esac
