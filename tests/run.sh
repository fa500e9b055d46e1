#!/bin/sh
# Installs what the tests need (Debian packages), builds in a directory of its own, and runs them all.
# Its last line is "N passed, N failed"; its status is 0 when none failed.
#
# Usage: sh tests/run.sh [--build] [BUILD-DIR [CONFIGURE-ARGUMENT...]]      (default: build/tests)
#
# With --build, the tests are built, but do not run. $MB_TESTS, if it is set, has those to run (TESTS of the Makefile).
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
only_build=
[ "${1:-}" != --build ] || { only_build=yes; shift; }
build=${1:-$top/build/tests}
[ $# -eq 0 ] || shift

packages="gcc libc6-dev make autoconf automake pkg-config liblua5.3-dev libsystemd-dev libseccomp-dev nettle-dev
  libnettle8 zlib1g-dev zlib1g systemd python3 lua5.3 openbsd-inetd ucspi-tcp busybox util-linux mount grep coreutils
  xz-utils mandoc curl apache2-utils wrk chromium chromium-driver bash zsh
  haproxy nginx-light libnginx-mod-stream s6 lua-socket lua-cjson lua-http lua-luaossl lua-redis lua-sql-sqlite3
  tarantool redis-server python3-websockets node-ws websocketd gnuplot-nox
  libselinux1 libtirpc3 libwrap0 netbase" # the last line: what xinetd needs

# $1...: packages. Prints those that are not installed.
missing() {
  for package; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || status=none
    [ "$status" = installed ] || printf '%s ' "$package"
  done
}

install_packages() {
  # shellcheck disable=SC2046,SC2086  # words are packages
  set -- $(missing $packages)
  [ $# -gt 0 ] || return 0
  echo "Installing $*"
  DEBIAN_FRONTEND=noninteractive
  export DEBIAN_FRONTEND
  if [ "$(id -u)" -eq 0 ]; then sudo=; else sudo=sudo; fi
  $sudo apt-get update -q >/dev/null
  # The tests start their own nginx, HAProxy and inetd: Debian's must not start on the machine's ports.
  policy=
  [ -e /usr/sbin/policy-rc.d ] || policy=/usr/sbin/policy-rc.d
  [ -z "$policy" ] || { printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null && $sudo chmod 755 $policy; }
  installed=yes
  $sudo apt-get install -q -y --no-install-recommends "$@" >/dev/null || installed=
  [ -z "$policy" ] || $sudo rm -f $policy
  [ -n "$installed" ]
}

# Debian's xinetd cannot be installed beside openbsd-inetd: it is unpacked only.
unpack_xinetd() {
  xinetd=$top/build/xinetd
  if [ ! -x "$xinetd/usr/sbin/xinetd" ]; then
    mkdir -p "$xinetd/deb/partial"
    (cd "$xinetd/deb" && { apt-get -q download xinetd || { apt-get update -q && apt-get -q download xinetd; }; } >/dev/null)
    dpkg-deb -x "$xinetd"/deb/xinetd_*.deb "$xinetd"
  fi
  MB_XINETD=$xinetd/usr/sbin/xinetd
  export MB_XINETD
}

# Builds in $build; configures first where that was not done yet, or with other arguments than these.
build_all() {
  { [ -x "$top/configure" ] && [ -f "$top/Makefile.in" ]; } || (cd "$top" && autoreconf -i)
  mkdir -p "$build"
  cd "$build"
  if [ -f "$top/config.status" ] && [ "$(pwd -P)" != "$(cd "$top" && pwd -P)" ]; then
    echo "This tree is configured for a build in itself, which rules out any other." >&2
    echo "Run 'make distclean' in $top first, or 'sh tests/run.sh $top' to test that build." >&2
    exit 1
  fi
  arguments=$(printf '%s\n' "$@")
  # A directory that somebody has configured by hand stays as it is, unless arguments are given.
  if [ ! -f Makefile ] || { [ -f run.sh.arguments ] && [ "$(cat run.sh.arguments)" != "$arguments" ]; } ||
    { [ ! -f run.sh.arguments ] && [ $# -gt 0 ]; }; then
    rm -f run.sh.arguments
    # By a relative path: configure takes no source directory with a space in its name.
    "$(realpath --relative-to=. "$top")/configure" -q "$@"
    make -s clean # what was compiled for other arguments
    printf '%s\n' "$@" >run.sh.arguments
  fi
  make -s -j2
}

# The sum of a counter over the summary that automake wrote.
count() {
  number=$(sed -n "s/^# $1: *//p" test-suite.log | head -n 1)
  echo "${number:-0}"
}

# Prints the last line; the exit status follows from it.
finish() {
  summary=yes
  echo "$1 passed, $2 failed"
  [ "$2" -eq 0 ] || exit 1
  exit 0
}

# Whatever went wrong before there was a result, the last line says so.
summary=
trap '[ -n "$summary" ] || { echo "the tests could not be run" >&2; echo "0 passed, 1 failed"; exit 1; }' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

install_packages
unpack_xinetd
build_all "$@"

if [ -n "$only_build" ]; then
  make -s -j2 check TESTS=
  finish 1 0
fi

# The summary of an earlier run must not be taken for that of one which does not get so far.
rm -f test-suite.log
made=0
# Twice as many at once as there are processors: tests wait more than they work. Bounds of time grow with that.
export MB_LOAD=2
make -s -j$((2 * $(nproc))) check ${MB_TESTS:+"TESTS=$MB_TESTS"} || made=$?
if [ ! -f test-suite.log ]; then
  echo "the tests could not be built" >&2
  finish 0 1
fi
grep -E '^(FAIL|ERROR|XPASS|not ok)|^# ' test-suite.log | grep -vE '^# (TOTAL|PASS|SKIP|XFAIL|FAIL|XPASS|ERROR):' || true
failed=$(($(count FAIL) + $(count XPASS) + $(count ERROR)))
if [ "$made" -ne 0 ] && [ "$failed" -eq 0 ]; then
  echo "make check has failed (status $made), though no test did" >&2
  failed=1
fi
# Where nothing may be left out, a test that was skipped has failed.
[ "${CI:-}" != true ] || failed=$((failed + $(count SKIP)))
grep '^SKIP' test-suite.log || true
finish "$(count PASS)" "$failed"
