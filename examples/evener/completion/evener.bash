# bash completion of evener(1); the options of each command are checked against its help by the tests.

_evener_service="--plaintext --cacert --cert --key --authority --policy --service-config --transport --factory --resolver-option \
--default-port --header --timeout --wait-for-ready --protoset --json --help -H -h"
_evener_messages="--data --data-file --data-hex --allow-unknown-fields -d"
_evener_options_resolve="--watch --json --resolver-option --default-port --timeout --help -w -h"
_evener_options_check="--json --quiet --help -q -h"
_evener_options_call="--raw --emit-defaults --verbose -v $_evener_messages $_evener_service"
_evener_options_load="--calls --duration --concurrency --rate --max-failures --quiet --connect-timeout -n -z -c -r -q \
$_evener_messages $_evener_service"
_evener_options_list=$_evener_service
_evener_options_describe=$_evener_service
_evener_policies="pick_first round_robin p2c_ewma weighted_round_robin weighted_random least_request random \
ring_hash"
_evener_targets="dns:/// static: file:/// unix:/ srv:/// etcd:///"

_evener()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]:-} options
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "resolve check call load list describe help --help --version -h -V" -- "$current")
        return
    fi
    # "=" is a word of its own in --option=value, and in key=value.
    if [ "$previous" = = ]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
        [[ $previous == -* ]] || return
    elif [ "$current" = = ]; then
        current=""
        [[ $previous == -* ]] || return
    fi
    case $previous in
    --cacert | --cert | --key | --factory | --data-file | --protoset)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --policy)
        mapfile -t COMPREPLY < <(compgen -W "$_evener_policies" -- "$current")
        return
        ;;
    --transport)
        mapfile -t COMPREPLY < <(compgen -W "grpc http2" -- "$current")
        return
        ;;
    --authority | --service-config | --resolver-option | --default-port | --data | --data-hex | --header | --timeout | \
        --calls | --duration | --concurrency | --rate | --max-failures | --connect-timeout | -d | -H | -n | -z | -c | -r)
        return
        ;;
    esac
    case $command in
    help) options="resolve check call load list describe" ;;
    resolve) options=$_evener_options_resolve ;;
    check) options=$_evener_options_check ;;
    call) options=$_evener_options_call ;;
    load) options=$_evener_options_load ;;
    list) options=$_evener_options_list ;;
    describe) options=$_evener_options_describe ;;
    *) return ;;
    esac
    case $command:$current in
    help:* | *:-*) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current") ;;
    check:*) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W "$_evener_targets" -- "$current")
        compopt -o nospace 2>/dev/null
        ;;
    esac
}
complete -F _evener evener
