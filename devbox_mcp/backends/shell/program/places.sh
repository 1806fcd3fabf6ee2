# From a path to a place: the working directory is the handle, and $name a name in it. Handle 9 is the root.
#
# No path is ever used with a link on its way: links go back to the asker, who judges and follows them. `cd -P` says in
# $PWD where it has really arrived, so that a link put there this instant shows as well.
# Whether a directory can be entered tells `-e DIRECTORY/.`: busybox answers -x by the mode, which does not bind root.

# enter NUMBER DIRECTORY [make]: go there. With `make` missing directories are made; then $made is DIRECTORY, and
# $kept how many of its parts were there before.
enter() {
    which=$1 made= kept=0 depth=0
    cd -P "$root" || { refuse gone; return 1; }
    [ "$2" = . ] && return
    top=${PWD%/}
    cd -P "./$2" 2>/dev/null && [ "$PWD" = "$top/$2" ] && return
    cd -P "$root" || { refuse gone; return 1; }
    rest=$2/
    while [ "$rest" ]; do
        part=${rest%%/*}
        if [ -L "./$part" ]; then
            link "$1" "$depth" "./$part"
            return 1
        elif [ -d "./$part" ]; then
            cd -P "./$part" 2>/dev/null || { refuse denied; return 1; }
        elif [ -e "./$part" ]; then
            refuse notdir
            return 1
        elif [ ! -e ./. ]; then
            refuse denied
            return 1
        elif [ "$3" ]; then
            made=$2 kept=$depth
            make_parents "${rest%/}" || return
            break
        else
            refuse noent
            return 1
        fi
        rest=${rest#*/} depth=$((depth + 1))
    done
    [ "$PWD" = "$top/$2" ] || { take_back "$made" "$kept"; refuse changed; return 1; }
}

# place NUMBER PATH [make]: go to the directory that holds it.
place() {
    case $2 in
        .) enter "$1" . && name=. ;;
        */*) enter "$1" "${2%/*}" "$3" && name=${2##*/} ;;
        *) enter "$1" . && name=$2 ;;
    esac
}

# follow NUMBER PATH: refuse a link in the place, which is to be followed.
follow() {
    [ ! -L "./$name" ] && return
    parts=$2 depth=0
    while [ "$parts" != "$name" ]; do
        parts=${parts#*/} depth=$((depth + 1))
    done
    link "$1" "$depth" "./$name"
}

# missing FILE: whether nothing is there, not even a link that leads nowhere.
missing() { [ ! -e "$1" ] && [ ! -L "$1" ]; }

# regular FILE: refuse anything else.
regular() {
    [ -f "$1" ] && return
    if [ -d "$1" ]; then refuse isdir; elif [ -e "$1" ]; then refuse special; else refuse noent; fi
}

# adopt FILE…: what root makes belongs to whom the directory belongs.
adopt() {
    { [ "$user" != 0 ] || { [ -O . ] && [ -G . ]; }; } && return
    chown -h "$(stat -c %u:%g .)" "$@"
    :
}

# make_parents A/B/C: make them all, none of which is there, and go to the last.
make_parents() {
    why=$(mkdir -p "./$1" 2>&1) || { take_back "$made" "$kept"; refuse why "$why"; return 1; }
    fresh=./${1%%/*} todo=${1#*/}
    set -- "$1" "$fresh"
    while [ "$fresh" != "./$1" ]; do
        fresh=$fresh/${todo%%/*} todo=${todo#*/}
        set -- "$@" "$fresh"
    done
    shift
    adopt "$@"
    $sync . "$@"
    cd -P "$fresh" 2>/dev/null || { refuse changed; return 1; }
}

# take_back DIRECTORY KEPT: remove it (a path from the root) and its parents but for the first KEPT, as far as they are
# empty; nothing for an empty DIRECTORY.
take_back() {
    [ "$1" ] || return 0
    lowest=$1
    IFS=/
    set -- "$2" $lowest
    IFS=$blanks
    level=$(($# - 1)) kept=$1
    set --
    while [ "$level" -gt "$kept" ]; do
        set -- "$@" "./$lowest"
        lowest=${lowest%/*} level=$((level - 1))
    done
    cd -P "$root" && rmdir "$@"
}
