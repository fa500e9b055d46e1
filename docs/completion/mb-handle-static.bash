# Completion of mb-handle-static's command line for bash, which looks for a file of the command's name: see mb-handle.bash.
# shellcheck disable=SC1091 # it is beside this file
. "${BASH_SOURCE[0]%/*}/mb-handle.bash"
