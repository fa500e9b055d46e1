# Completion of mb-handle's command line for bash. Looks at nothing but file names: runs no script.

_mb_handle_values() { # OPTION CUR: completes an option's value; fails for an option that takes none
  case $1 in
    --access-log) mapfile -t COMPREPLY < <(compgen -W 'combined json' -- "$2") ;;
    --handlers | --units) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$2") ;;
    --record) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
    --log-format) mapfile -t COMPREPLY < <(compgen -W 'plain journal' -- "$2") ;;
    --log-level) mapfile -t COMPREPLY < <(compgen -W 'error warning notice info debug' -- "$2") ;;
    --sandbox) mapfile -t COMPREPLY < <(compgen -W 'strict off' -- "$2") ;;
    --style) mapfile -t COMPREPLY < <(compgen -W 'luasocket tarantool lua-http' -- "$2") ;;
    --interval | --listener | --log-lines | --main | --memory-limit | --proxy-trust | --serve) ;;
    --exit-idle | --grace | --silence-timeout | --tcp-keepalive | --timeout) ;;
    *) return 1 ;;
  esac
}

_mb_handle() {
  local cur=${COMP_WORDS[COMP_CWORD]} i option=
  local options='--access-log --check --dev --exit-idle --grace --handlers --help --inetd --interval --listener
    --log-format --log-level --log-lines --main --memory-limit --pool --proxy-protocol --proxy-trust --record --sandbox
    --serve --silence-timeout --style --tcp-keepalive --timeout --units --user --version --xinetd'
  local optional=' --access-log --serve ' # a value of these stands behind a =
  COMPREPLY=()
  [[ $cur != '=' ]] || cur=
  # The word before it may be an option that waits for its value. All words behind the script belong to the script.
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      =) ;; # --option=value comes as three words
      --)
        option=
        ((i++))
        ((i >= COMP_CWORD)) || i=-1
        break
        ;;
      -*)
        option=${COMP_WORDS[i]}
        [[ $optional != *" $option "* || ${COMP_WORDS[i + 1]} == '=' ]] || option=
        ;;
      *)
        if [[ -n $option ]] && _mb_handle_values "$option" ''; then
          option=
        else
          i=-1
          break
        fi
        ;;
    esac
  done
  COMPREPLY=()
  if ((i < 0)); then
    compopt -o default
  elif [[ -n $option ]] && _mb_handle_values "$option" "$cur"; then
    return
  elif [[ $cur == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
  else
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -X '!*.lua' -- "$cur"; compgen -d -- "$cur")
  fi
}

complete -F _mb_handle mb-handle mb-handle-static
