# What goes back: one line `ID STATUS LENGTH WORDS…`, LENGTH raw bytes, and at the end of every answer `ID . WORD`,
# which the loop says. ID cannot be guessed, so bytes that got lost on the way show.

say() { printf '%s\n' "$id $*"; }

# refuse WORD [TEXT]: the operation is not done, for a reason in the path of number $which. TEXT is what a tool said.
refuse() {
    alive || set -- gone
    printf '%s fail %s %s %s\n%s' "$id" "${#2}" "$1" "$which" "$2"
    return 1
}

# Whether the root directory is still there, under whatever name.
alive() {
    at=$(readlink "/proc/self/fd/9")
    case $at in
        *' (deleted)') [ -d "$at" ] ;;
        *) : ;;
    esac
}

# link NUMBER DEPTH ENTRY: on the way to path NUMBER lies a link, behind DEPTH directories; the asker judges it.
link() {
    to=$(readlink -n "$3" && printf .) || { refuse changed; return 1; }
    to=${to%.}
    printf '%s link %s %s %s\n%s' "$id" "${#to}" "$1" "$2" "$to"
    return 1
}

# take: the request's body to stdout, exactly; the bytes behind it are the next request.
take() {
    if [ "$fullblock" ]; then
        dd bs="$body" count=1 iflag=fullblock "$@" <&3
    else
        dd bs=1 count="$body" "$@" <&3
    fi
}

# fill FILE [CONVERSION]: add the request's body to it. What went wrong is in $why. Once `dd` runs, it has read all of
# its one block before it writes any of it; without whole blocks nobody knows what is left of the body, hence the end.
fill() {
    taken=
    {
        taken=1
        if [ "$fullblock" ]; then # as `take` does, which takes a process more here
            why=$(dd bs="$body" count=1 iflag=fullblock ${2:+"$2"} 2>&1 >&8 <&3)
        else
            why=$(take ${2:+"$2"} 2>&1 >&8)
        fi
        set -- "$1" $?
    } 8>>"$1"
    if [ -z "$taken" ]; then
        why=$( (true >>"$1") 2>&1)
        return 1
    fi
    [ "$2" = 0 ] || [ "$fullblock" ] || exit 1
    body=0
    return "$2"
}

# hash FILE: its sha256 into $hashed.
hash() {
    hashed=$($sha256 <"$1") || { refuse why "$(cat "$1" 2>&1 >/dev/null)"; return 1; }
    hashed=${hashed%% *}
}
