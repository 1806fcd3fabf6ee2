# A shell whose session is gone learns it from the end of its stdin, but not always: some container runtimes leave a
# program that they lost their connection to with its pipes open, and a tool that writes into one is stuck for ever.

# watched NAP FEW MANY: have this shell ended when nothing is asked of it for FEW naps of so many seconds, or MANY while
# it is at work on what may take long.
watched() {
    trap '' USR1 # until the watch knows it
    watch "$@" </dev/null >/dev/null 2>&1 3<&- 9<&- &
    watch=$!
    trap - USR1
}

watch() {
    set +f
    nap=$1 few=$2 many=$3 left=$2 news=
    trap news=1 USR1
    while sleep "$nap" && kill -0 $$; do
        if [ "$news" ]; then
            news= left=$few
            [ ! -e "/proc/$$/fd/7" ] || left=$many
        fi
        left=$((left - 1))
        [ "$left" -gt 0 ] || end_all
    done
}

# end_all: end this shell and whatever it started, but not the watch itself before that is done.
end_all() {
    read -r self _ </proc/self/stat
    family=" $$ " news=1
    while [ "$news" ]; do
        news=
        for stat in /proc/[0-9]*/stat; do
            read -r child _ _ parent _ <"$stat" || continue
            [ "$child" != "$self" ] || continue
            case $family in
                *" $child "*) ;;
                *" $parent "*) family="$family$child " news=1 ;;
            esac
        done
    done
    kill -KILL $family
}

# at_work OPERATION: what is slow may keep the asker silent for long; handle 7 says so, for signals come in any order. A
# piece that is added may not: whoever never sends the rest of it is gone.
at_work() {
    case $1 in
        nop | read | more | shut | add) ;;
        *)
            exec 7</dev/null
            kill -USR1 "$watch"
            ;;
    esac
}
