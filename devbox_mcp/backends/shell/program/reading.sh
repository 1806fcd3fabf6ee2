# Looking at entries and reading files.

# raw mode in hex, size, hard links, inode, owner, group, and the times of change of content and of entry
fields='%f %s %h %i %u %g %y %z'

op_stat() { # PATH FOLLOW SHA256
    place 1 "$1" || return
    if [ "$2" ]; then follow 1 "$1" || return; fi
    missing "./$name" && { refuse noent; return; }
    [ "$name" != . ] || alive || { refuse gone; return; }
    hashed=- to=
    if [ -L "./$name" ]; then
        to=$(readlink -n "./$name" && printf .)
        to=${to%.}
    elif [ "$3" ] && [ -f "./$name" ]; then
        hash "./$name" || return
    fi
    found=$(stat -c "$fields" "./$name" 2>&1) || { refuse why "$found"; return; }
    printf '%s ok %s %s %s\n%s' "$id" "${#to}" "$hashed" "$found" "$to"
}

# Whether a directory can be gone to by this path.
op_look() { # DIRECTORY
    enter 1 "$1" && say ok 0
}

# The rest of an absolute path behind its last part that is the root.
op_behind() { # ABSOLUTE
    prefix=${1%/}
    while ! [ "${prefix:-/}" -ef "$root" ]; do
        [ "$prefix" ] || { say ok 0 no; return; }
        prefix=${prefix%/*}
    done
    behind=${1#"$prefix"}
    printf '%s ok %s yes\n%s' "$id" "${#behind}" "$behind"
}

# A piece of a file, from the 64 KiB block that OFFSET is in. If there is more to come than BLOCKS hold, KEEP is set,
# and a handle from 4 to 6 is free, the file stays open for `more`.
op_read() { # PATH OFFSET LENGTH(or nothing) BLOCKS KEEP
    place 1 "$1" && follow 1 "$1" && regular "./$name" || return
    [ -r "./$name" ] || { refuse denied; return; }
    # what was opened is what bears the name, and that is no link: so none was followed
    for attempt in 1 2 3 4 5 6 7 8; do
        opened=
        {
            if opened_itself; then
                opened=1 keep=$5
                first_piece "$2" "$3" "$4"
            fi
        } <"./$name"
        [ "$opened" ] && return
    done
    if missing "./$name"; then refuse noent; else refuse changed; fi
}

# opened_itself: whether stdin is what bears the name itself; its stat is $was.
opened_itself() {
    if [ "$fstat" ]; then
        was=$(stat -c "$fields" "./$name" -) || return
        [ "${was%%"$newline"*}" = "${was#*"$newline"}" ] && was=${was%%"$newline"*}
    else
        [ "$(readlink -n /proc/self/fd/0 && printf .)" = "${PWD%/}/$name." ] &&
            was=$(stat -L -c "$fields" /proc/self/fd/0)
    fi
}

first_piece() {
    set -- "$1" "$2" "$3" $was
    size=$5
    if [ "$size" = 0 ]; then
        # as in /proc: an answer begins with its length, which nobody knows
        case $(dd bs=1 count=1 2>&1 >/dev/null) in 1*) refuse unsized; return ;; esac
    fi
    last=$size
    [ "$2" ] && [ "$2" -lt $((size - $1)) ] && last=$(($1 + $2))
    skip=$(($1 / 65536)) count=$(((last + 65535) / 65536 - $1 / 65536))
    slot=-
    if [ "$count" -gt "$3" ]; then
        count=$3
        for slot in ${keep:+$slots} -; do break; done
        case $slot in
            4) slots=${slots#"4 "} && exec 4<&0 ;;
            5) slots=${slots#"5 "} && exec 5<&0 ;;
            6) slots=${slots#"6 "} && exec 6<&0 ;;
        esac
    fi
    [ "$count" -gt 0 ] || count=0
    piece $((skip * 65536)) "$slot $was"
}

# piece START WORDS: COUNT blocks of stdin, from SKIP blocks further on, which were START bytes from the beginning.
# Where less comes than was announced, nobody can tell the rest from the next answer, and the shell has to end.
piece() {
    length=$((size - $1))
    [ "$length" -gt $((count * 65536)) ] && length=$((count * 65536))
    [ "$length" -lt 0 ] && length=0
    say ok "$length" "$1 $2"
    [ "$length" = 0 ] && return
    if [ "$count" = 1 ] && [ "$counts" ]; then
        # one block is one read: one version, if perhaps a newer one than was announced
        { report=$(dd bs=65536 skip="$skip" count=1 2>&1 >&8); } 8>&1
        copied "$report"
        [ "$copied" = "$length" ] || exit 1
        return
    fi
    dd bs=65536 skip="$skip" count="$count" || exit 1
    now=$(stat -L -c "$fields" /proc/self/fd/0)
    set -- $was $now
    if [ "$2 $7 $8" != "${14} ${19} ${20}" ]; then
        [ "${14}" -ge "$2" ] || exit 1
        verdict=changed
    fi
}

# copied REPORT: how many bytes that is, by what dd wrote to stderr.
copied() {
    copied=${1##*"$newline"}
    copied=${copied%% *}
}

# The next piece of a file that was kept open. It has to be the SIZE and of the DATE and TIME that it was.
op_more() { # SLOT START BLOCKS SIZE DATE TIME
    case $1 in
        4) next_piece "$@" <&4 ;;
        5) next_piece "$@" <&5 ;;
        6) next_piece "$@" <&6 ;;
    esac
}

next_piece() {
    was=$(stat -L -c "$fields" /proc/self/fd/0) || { refuse changed; return; }
    set -- "$2" "$3" "$4 $5 $6" $was
    [ "$3" = "$5 ${10} ${11}" ] || { refuse changed; return; }
    size=$5 skip=0 count=$2
    piece "$1" -
}

op_shut() { # SLOT
    case $1 in
        4) exec 4<&- ;;
        5) exec 5<&- ;;
        6) exec 6<&- ;;
    esac
    slots="$slots$1 "
    say ok 0
}

op_nop() { say ok 0; }
