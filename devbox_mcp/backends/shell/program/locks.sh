# One change of names at a time in a directory. Where there is `flock`, its lock on the directory is the one that every
# devbox-mcp process takes; otherwise a file that only one can make stands for it, among shells.

# locked COMMAND…: run it under the lock of the working directory.
locked() {
    [ -r . ] || { refuse denied; return; }
    if [ "$flock" ]; then
        { hold 7 && "$@"; } 7<.
    else
        seize . || return
        "$@"
        set -- $?
        release .
        return "$1"
    fi
}

# hold HANDLE: lock it until it is closed.
hold() {
    tries=0
    until flock -n "$1"; do
        wait_turn || return
    done
}

# seize DIRECTORY: make the lock file, which names its owner.
seize() {
    tries=0
    while :; do
        set -C
        printf '%s\n' "$self" >"$1/$lock"
        set -- "$1" $?
        set +C
        [ "$2" = 0 ] && return
        if missing "$1/$lock"; then
            why=$( (set -C && printf '%s\n' "$self" >"$1/$lock") 2>&1) && return
            missing "$1/$lock" && { refuse why "$why"; return; }
        fi
        [ $((tries % 16)) != 15 ] || break_stale "$1"
        wait_turn || return
    done
}

# break_stale DIRECTORY: remove a lock file whose owner is dead, or that is too old for anybody to be at work still.
break_stale() {
    owner=
    { read -r owner <"$1/$lock"; } || return
    set -- "$1" "$owner" $owner
    { [ "$3" = "${self%% *}" ] && [ ! -d "/proc/$4" ]; } || [ "$(find "$1/$lock" -mmin +5)" ] || return
    mv -f -T "$1/$lock" "$1/$lock-$$" || return
    { read -r owner <"$1/$lock-$$"; }
    # another may have broken it, and the one there now is in use
    [ "$owner" = "$2" ] || ln -T "$1/$lock-$$" "$1/$lock"
    rm -f "$1/$lock-$$"
}

release() { rm -f "$1/$lock"; }

wait_turn() {
    tries=$((tries + 1))
    [ "$tries" -lt "$patience" ] || { refuse busy; return; }
    sleep "$nap"
}

# locked_both COMMAND…: run it under the locks of the working directory and of the one that handle 8 is.
locked_both() {
    if [ . -ef /proc/self/fd/8 ]; then
        locked_one "$@"
    elif [ "$flock" ]; then
        [ -r . ] || { refuse denied; return; }
        { hold_both && "$@"; } 7<.
    else
        # in one order for all, by inode
        first=. second=/proc/self/fd/8
        ahead=$(stat -c %i ./. /proc/self/fd/8/.)
        set -- "$ahead" "$@"
        [ "${1%%[!0-9]*}" -lt "${1##*[!0-9]}" ] || { first=/proc/self/fd/8 second=.; }
        shift
        seize "$first" || return
        if seize "$second"; then
            "$@"
            set -- $?
            release "$second"
        else
            set -- 1
        fi
        release "$first"
        return "$1"
    fi
}

# handle 8 is open already, and locking the same directory by another handle would wait for ever
locked_one() {
    if [ "$flock" ]; then hold 8 && "$@"; else locked "$@"; fi
}

hold_both() {
    tries=0
    until flock -n 8 && { flock -n 7 || { flock -u 8 && false; }; }; do
        wait_turn || return
    done
}
