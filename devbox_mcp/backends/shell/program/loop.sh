# The loop: a line `ID OPERATION ARGUMENTS BODY`, as many lines as it has arguments, as many bytes as its body has. An
# argument is `=` and itself, or `%` and itself with octal escapes. Where stdin ends, so does this.

exec 3<&0 </dev/null
set -f
LC_ALL=C TZ=UTC0
export LC_ALL TZ
while IFS=' ' read -r id op more body <&3; do
    verdict=same
    set --
    while [ "$more" -gt 0 ]; do
        IFS= read -r word <&3 || exit
        case $word in
            =*) set -- "$@" "${word#=}" ;;
            *) word=$(printf '%b.' "${word#%}") && set -- "$@" "${word%.}" ;;
        esac
        more=$((more - 1))
    done
    at_work "$op"
    "op_$op" "$@"
    [ "$body" = 0 ] || take >/dev/null
    printf '%s . %s\n' "$id" "$verdict"
    exec 7<&-
    kill -USR1 "$watch"
done 2>/dev/null # not by `exec`: a container runtime that sees the end of stderr closes stdin
kill "$watch"
