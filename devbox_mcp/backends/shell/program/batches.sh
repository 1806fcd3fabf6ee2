# Many small files of one directory at once: an archive is unpacked into the hidden directory STAGE beside their places,
# where they have the names that they are to get. No process is started for a single file. What is not simple stays in
# STAGE, and the asker writes it by itself.

# Where the directory is, and whether any of NAMES in it is a link.
op_links() { # DIRECTORY NAMES…
    enter 1 "$1" || return
    shift
    for name do
        [ ! -L "./$name" ] || { say ok 0 link; return; }
    done
    say ok 0 none
}

# The body is the archive: `new/NAME`, and `run/NAME` for what is to be executable. The answer is what the tool says of
# their hashes.
op_stage() { # DIRECTORY STAGE
    enter 1 "$1" make || return
    stage=./$2
    if unpack; then
        set -- "$kept" ${made:+made}
        printf '%s ok %s %s\n%s' "$id" "${#sums}" "$*" "$sums"
    else
        rm -rf "$stage"
        take_back "$made" "$kept"
    fi
}

unpack() {
    { [ "$fullblock" ] && command -v tar >/dev/null; } || { refuse tools tar; return; }
    why=$( (umask 077 && mkdir "$stage" "$stage/new" "$stage/run" "$stage/as") 2>&1) || { refuse why "$why"; return; }
    # what the directory makes of a new file's mode shows in this one
    { true >"$stage/model"; } || { refuse denied; return; }
    fill "$stage/tar" || { refuse why "$why"; return; }
    why=$( (cd "$stage" && TAR_OPTIONS= tar -x -o -m -f tar && rm -f tar) 2>&1) &&
        why=$($sync_tree "$stage" 2>&1) || { refuse why "$why"; return; }
    sums=$(cd "$stage" && find new run -type f -exec $sha256 {} +) || { refuse integrity; return; }
}

# Put what is in STAGE in place. The answer has a line for each: 1 for a new file or 0, its stat, and `/./NAME`; and
# `-/./NAME` for what was left there.
op_land() { # DIRECTORY STAGE MADE KEPT
    enter 1 "$1" || return
    stage=./$2 executable=
    if locked land; then
        $sync . || { rm -rf "$stage"; refuse unsure; return; }
        rm -rf "$stage"
        [ -z "$3" ] || take_back "$1" "$4"
        printf '%s ok %s\n%s' "$id" "${#landed}" "$landed"
    else
        rm -rf "$stage"
        [ -z "$3" ] || take_back "$1" "$4"
    fi
}

# land: under the lock.
land() {
    set +f
    sort_out && {
        dress_fresh
        each new new sh -c 'exec mv -f "$@" ../..' sh
        each run run sh -c 'exec mv -f "$@" ../..' sh
        dress_old && each old new sh -c 'exec mv -f "$@" ../..' sh
    }
    landed=$(
        each new .. stat -c "1 $fields/%n"
        each run .. stat -c "1 $fields/%n"
        each old .. stat -c "0 $fields/%n"
        for file in "$stage"/[nr]*/* "$stage"/[nr]*/.[!.]*; do
            [ ! -f "$file" ] || printf '%s\n' "-/./${file##*/}"
        done
    )
    set -f
}

# each LIST DIRECTORY COMMAND…: run it in a directory of STAGE on all that a list names.
each() {
    [ -s "$stage/$1.list" ] || return 0
    (
        exec <"$stage/$1.list"
        cd "$stage/$2" || exit
        shift 2
        xargs -0 "$@"
    )
}

# sort_out: list what is new, to be run, and to replace a file that needs nothing special.
sort_out() {
    true >"$stage/run.list"
    for file in "$stage"/[nr]*/* "$stage"/[nr]*/.[!.]*; do
        [ -f "$file" ] || continue
        name=${file##*/}
        if missing "./$name"; then
            case $file in
                "$stage/new/"*) printf '%s\0' "./$name" ;;
                *) printf '%s\0' "./$name" >>"$stage/run.list" ;;
            esac
        elif [ "$file" = "$stage/new/$name" ] && replaceable "./$name"; then
            printf '%s\0' "./$name" >&8
        fi || return
    done >"$stage/new.list" 8>"$stage/known.list"
    true >"$stage/old.list"
    [ -s "$stage/known.list" ] || return 0
    each known .. stat -c '%h %f %u:%g %n/' | while read -r links raw owner file; do
        [ "$links" = 1 ] && [ $((0x$raw & 3584)) = 0 ] || continue
        printf '%s\0' "${file%/}" >&8 && printf '%s\0' "${file%/}" >>"$stage/as/$raw:$owner.list" || exit
    done 8>"$stage/old.list"
}

replaceable() {
    [ ! -L "$1" ] && [ -f "$1" ] && [ -r "$1" ] && [ -w "$1" ] &&
        { [ "$user" = 0 ] || { [ -O "$1" ] && [ -G "$1" ]; }; }
}

# dress_fresh: what new files get.
dress_fresh() {
    set -- "$(stat -c %f "$stage/model")"
    with_executable "$1"
    each new new chmod "$wanted"
    executable=1
    with_executable "$1"
    each run run chmod "$wanted"
    executable=
    { [ "$user" != 0 ] || { [ -O . ] && [ -G . ]; }; } && return
    set -- "$(stat -c %u:%g .)"
    each new new chown -h "$1"
    each run run chown -h "$1"
}

# dress_old: give what replaces a file what that has.
dress_old() {
    if [ "$attributes" ]; then
        each old .. sh -c 'exec cp -a --attributes-only --no-preserve=timestamps "$@" "$0"' "$stage/new"
        return
    fi
    for list in "$stage"/as/*.list; do
        [ -f "$list" ] || continue
        list=${list##*/}
        list=${list%.list}
        owner=${list#*:}
        with_executable "${list%%:*}"
        [ "$user" != 0 ] || each "as/$list" new chown "$owner" || return
        each "as/$list" new chmod "$wanted" || return
    done
}
