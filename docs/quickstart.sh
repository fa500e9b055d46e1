#!/bin/sh
# First steps on a Debian machine with git, sh and apt: installs what is missing, builds, replays a captured
# request, and serves real ones. Changes nothing outside the checkout but for Debian packages.
set -eu

usage() {
  cat <<'END'
Usage: sh docs/quickstart.sh [--once]

Installs what is missing, builds mb-handle in build/quickstart, replays a captured
request through docs/examples/hello.lua, and serves that script on 127.0.0.1:8080,
or the next free port, until Ctrl-C.

  --once   make one request, show the answer, and exit: 0 if it is right
           (this is also done when standard input is no terminal)
  --help   print this text

Environment: MB_PORT, the port to use instead of 8080.
END
}

BUILD=build/quickstart
LOG=$BUILD/quickstart.log
HANDLE=$BUILD/mb-handle
SCRIPT=docs/examples/hello.lua
CAPTURE=docs/examples/hello.txt
GREETING='Hello, Ann!' # what the script answers to the capture, and to GET /Ann

heading() { printf '\n==> %s\n' "$1"; }
say() { printf '    %s\n' "$1"; }

fail() {
  printf '\nquickstart: %s\n' "$1" >&2
  exit 1
}

# ---- 1. packages ----

missing=

# need PACKAGE TEST...: remembers the package if the test fails
need() {
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}

has_library() {
  pkg-config --exists "$1" || [ "$(dpkg-query -W -f '${db:Status-Status}' "$2")" = installed ]
}

find_missing() {
  missing=
  need autoconf command -v autoreconf
  need automake command -v automake
  need make command -v make
  need gcc command -v gcc
  need libc6-dev test -e /usr/include/stdio.h
  need pkg-config command -v pkg-config
  need liblua5.3-dev has_library lua5.3 liblua5.3-dev
  need libsystemd-dev has_library libsystemd libsystemd-dev
  need libseccomp-dev has_library libseccomp libseccomp-dev
  need curl command -v curl
}

# as_root COMMAND...
as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# An index that cannot be fetched is no failure yet: the packages may be at hand.
apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
  # shellcheck disable=SC2086 # a list of names
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends $missing
}

install_packages() {
  heading 'Packages'
  find_missing
  if [ -z "$missing" ]; then
    say 'Everything that is needed is there.'
    return
  fi
  command -v apt-get >/dev/null || fail "there is no apt-get here. Please install (Debian's names):$missing"
  [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
    fail "packages are missing, and this is neither root nor is there a sudo. Please run as root:
    apt-get install$missing"
  say "Installing with apt-get:$missing"
  logged apt_install
  find_missing
  [ -z "$missing" ] || fail "still missing after apt-get install:$missing"
}

# logged COMMAND...: its output goes to the log, of which the end is shown if it fails
logged() {
  if "$@" >>"$LOG" 2>&1; then return; fi
  printf '\n' >&2
  tail -n 25 "$LOG" >&2
  fail "this went wrong. The whole log is in $LOG"
}

# ---- 2. build ----

# Only what is not there yet, each step: a second run costs no more than make. No "set -e" holds in here (see logged).
build() {
  { [ -x configure ] && [ -f Makefile.in ]; } || autoreconf -i || return
  (
    cd "$BUILD" || exit
    [ -f Makefile ] || ../../configure || exit
    make -j "$(nproc)"
  )
}

build_program() {
  heading 'Build'
  if [ -f config.status ]; then
    fail 'this tree is configured for a build in itself. Please run "make distclean" first.'
  fi
  say "Building in $BUILD (log: $LOG)"
  logged build
  say "$("$HANDLE" --version): $HANDLE"
}

# ---- 3. replay ----

# show PREFIX: standard input, indented, without the CR of network lines
show() { tr -d '\r' | sed "s/^/    $1 /"; }

replay() {
  heading 'Replay: a captured request in, the answer out; no network'
  say "\$ $HANDLE $SCRIPT < $CAPTURE"
  show '>' <"$CAPTURE"
  answer=$("$HANDLE" "$SCRIPT" <"$CAPTURE") || fail "$HANDLE ended with exit status $?"
  printf '%s\n' "$answer" | show '<'
  case $answer in
    *"$GREETING") ;;
    *) fail "the answer should end with \"$GREETING\"" ;;
  esac
}

# ---- 4. serve ----

port=${MB_PORT:-8080}
server=

# Whether something listens on the port; looks only, as a connection would start a handler.
is_taken() {
  grep -Eqs "^ *[0-9]+: [0-9A-F]+:$(printf '%04X' "$1") [0-9A-F:]+ 0A " /proc/net/tcp /proc/net/tcp6
}

choose_port() {
  wanted=$port
  while is_taken "$port"; do
    [ -z "${MB_PORT:-}" ] || fail "port $MB_PORT (MB_PORT) is taken"
    port=$((port + 1))
    [ "$port" -lt $((wanted + 100)) ] || fail "no free port from $wanted to $port; MB_PORT=N chooses one"
  done
  [ "$port" -eq "$wanted" ] || say "Port $wanted is taken: using $port. (MB_PORT=N chooses another.)"
}

stop_server() {
  [ -n "$server" ] || return 0
  kill -INT "$server" 2>/dev/null || :
  wait "$server" 2>/dev/null || :
  server=
}

start_server() {
  "$HANDLE" "--serve=127.0.0.1:$port" --dev "$SCRIPT" &
  server=$!
  until is_taken "$port"; do
    kill -0 "$server" 2>/dev/null || fail "mb-handle does not listen on 127.0.0.1:$port"
    sleep 0.1
  done
}

request_once() {
  printf '\n'
  say "\$ curl $url"
  answer=$(curl --silent --show-error --noproxy '*' --max-time 20 "$url") || fail "curl ended with exit status $?"
  printf '%s\n' "$answer" | show '<'
  [ "$answer" = "$GREETING" ] || fail "the answer should be \"$GREETING\""
}

wait_for_user() {
  printf '\n'
  say 'Open it in a browser, or in another terminal:'
  printf '\n'
  say "    curl $url"
  printf '\n'
  say "Edit $SCRIPT: the next request runs the new text, and an error is a page."
  say 'Ctrl-C ends this.'
  trap 'printf "\n"; say "Stopped."; next_steps; exit 0' INT
  wait "$server" || :
  fail 'mb-handle has ended'
}

serve() {
  heading 'Serve: for a person who writes the script'
  choose_port
  url=http://127.0.0.1:$port/Ann
  say "\$ $HANDLE --serve=127.0.0.1:$port --dev $SCRIPT"
  start_server
  if [ -n "$once" ]; then
    request_once
  else
    printf '\n'
    say "Serving http://127.0.0.1:$port/"
    wait_for_user
  fi
}

# The tutorial calls the program by its name alone.
next_steps() {
  printf '\n'
  say 'Next: README, docs/http-tutorial.txt, docs/examples. For them, in each terminal:'
  printf '\n'
  say "    PATH=\"$PWD/$BUILD:\$PATH\""
  printf '\n'
  say "or, to have it as a service: README, \"Build and install\"."
}

# ---- main ----

once=
case $# in
  0) ;;
  1)
    case $1 in
      --once) once=yes ;;
      --help)
        usage
        exit 0
        ;;
      *)
        usage >&2
        exit 64
        ;;
    esac
    ;;
  *)
    usage >&2
    exit 64
    ;;
esac
case $port in
  *[!0-9]* | ??????* | 0*) port=65536 ;; # no number, or a long one
esac
if [ "$port" -gt 65535 ]; then
  echo "quickstart: MB_PORT=$MB_PORT is no port" >&2
  exit 64
fi
[ -t 0 ] || once=yes

trap stop_server EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

CDPATH='' cd -- "$(dirname -- "$0")/.."
mkdir -p "$BUILD"
: >"$LOG"
printf 'mb-handle: one connection, one process, one Lua script.\n'
install_packages
build_program
replay
serve
if [ -n "$once" ]; then
  heading 'All well.'
  next_steps
fi
