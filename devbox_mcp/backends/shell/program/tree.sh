# Directories and entries as such.

own='.devbox-mcp-*'

# Everything beneath a directory, DEPTH levels deep, as records, then `=STATUS` as the last. Where `find` can print,
# a record is TYPE MODE SIZE LINKS INODE TIMES `/` PATH NUL TARGET NUL; otherwise it is `//` STAT `/./` PATH and a line
# break, and for a link `//@` LENGTH of the target `/./` PATH `//` TARGET before it: no path holds two slashes in a row.
op_list() { # DIRECTORY DEPTH
    enter 1 "$1" || return
    [ "$1" != . ] || alive || { refuse gone; return; }
    { [ -r . ] && [ -e ./. ]; } || { refuse denied; return; }
    say ok 0
    if [ "$printf" ]; then
        find . -mindepth 1 -maxdepth "$2" -name "$own" -prune \
            -o -printf '%y %m %s %n %i %T@ %C@/%P\0%l\0'
        printf '=%s\0' $?
    else
        find . -mindepth 1 -maxdepth "$2" -name "$own" -prune \
            -o -type l -exec sh -c "$describe_links" "//$fields/%n" {} + \
            -o -exec stat -c "//$fields/%n" {} +
        printf '//=%s\n' $?
    fi
}

describe_links='for l do
    t=$(readlink -n "$l" && printf .) || continue
    t=${t%.}
    printf "//@%s/%s//%s" ${#t} "$l" "$t"
done
exec stat -c "$0" "$@"'

# The directories beneath that cannot be looked into, each with a NUL behind it.
op_unreadable() { # DIRECTORY DEPTH
    enter 1 "$1" || return
    say ok 0
    find . -mindepth 1 -maxdepth "$2" -name "$own" -prune \
        -o -type d -exec sh -c 'for d do [ -r "$d" ] && [ -e "$d/." ] || printf "%s\0" "$d"; done' sh {} +
    printf '=\0'
}

op_mkdir() { # PATH
    place 1 "$1" make && follow 1 "$1" || return
    if [ -d "./$name" ]; then
        say ok 0 0
    elif ! missing "./$name"; then
        refuse exists
    elif why=$(mkdir "./$name" 2>&1); then
        adopt "./$name"
        $sync . "./$name" || { refuse unsure; return; }
        say ok 0 1
    elif [ -d "./$name" ] && [ ! -L "./$name" ]; then
        say ok 0 0
    else
        refuse why "$why"
        take_back "$made" "$kept"
    fi
}

op_delete() { # PATH RECURSIVE MATCH TRASH
    match=$3 trash=
    place 1 "$1" || return
    missing "./$name" && { absent; return; }
    locked unlink_place "$2" "$4" || return
    count=1
    if [ "$trash" ]; then
        for seen in $(find "./$trash" -mindepth 1 -name "$own" -prune -o -exec sh -c 'echo $#' sh {} +); do
            count=$((count + seen))
        done
        why=$(rm -rf "./$trash" 2>&1) || {
            missing "./$name" && mv -f -T "./$trash" "./$name"
            refuse why "$why"
            return
        }
    fi
    $sync . || { refuse unsure; return; }
    say ok 0 "$count"
}

# absent: nothing is there, which is a conflict where a version of it is asked for.
absent() {
    which=1
    if [ "$match" ]; then refuse conflict; else refuse noent; fi
}

# unlink_place RECURSIVE TRASH: under the lock; a directory with entries is set aside as $trash.
unlink_place() {
    missing "./$name" && { absent; return; }
    if [ -d "./$name" ] && [ ! -L "./$name" ]; then
        [ ! "$match" ] || { refuse nomatch; return; }
        why=$(rmdir "./$name" 2>&1) && return
        if [ "$1" ] || [ -z "$(find "./$name" -mindepth 1 -maxdepth 1 ! -name "$own" -exec echo x {} +)" ]; then
            if [ "$1" ] || [ -r "./$name" ]; then
                why=$(mv -f -T "./$name" "./$2" 2>&1) && trash=$2 && return
            fi
        fi
    else
        [ ! "$match" ] || versioned "./$name" || return
        why=$(rm -f "./$name" 2>&1) && return
    fi
    refuse why "$why"
}

# versioned FILE: check_version for what may be no regular file.
versioned() {
    which=1
    { [ -f "$1" ] && [ ! -L "$1" ]; } || { refuse nomatch; return; }
    hashed=
    check_version "$1"
}

op_move() { # FROM TO OVERWRITE MATCH STAGE
    match=$4
    place 1 "$1" || return
    missing "./$name" && { absent; return; }
    [ -r . ] || { refuse denied; return; }
    from=/proc/self/fd/8/$name
    { move_to "$2" "$3" "$5"; } 8<.
}

# move_to TO OVERWRITE STAGE: what $from is, from the directory that handle 8 is.
move_to() {
    place 2 "$1" make || return
    locked_both rename_place "$2" "$3" && {
        $sync . /proc/self/fd/8/. || { refuse unsure; return; }
        describe_place
        return
    }
    take_back "$made" "$kept"
}

describe_place() {
    to=
    if [ -L "./$name" ]; then
        to=$(readlink -n "./$name" && printf .)
        to=${to%.}
    fi
    now=$(stat -c "$fields" "./$name") || { refuse unsure; return; }
    printf '%s ok %s - %s\n%s' "$id" "${#to}" "$now" "$to"
}

# rename_place OVERWRITE STAGE: under the locks.
rename_place() {
    missing "$from" && { absent; return; }
    [ ! "$match" ] || versioned "$from" || return
    which=2
    directory=
    [ -d "$from" ] && [ ! -L "$from" ] && directory=1
    if ! missing "./$name"; then
        if [ ! -L "$from" ] && [ ! -L "./$name" ] && [ "$from" -ef "./$name" ]; then
            refuse same
        elif [ ! "$1" ]; then
            refuse exists
        elif [ -d "./$name" ] && [ ! -L "./$name" ]; then
            [ "$directory" ] || refuse isdir
        elif [ "$directory" ]; then
            refuse exists
        else
            [ -L "./$name" ] || [ -f "./$name" ] || refuse exists
        fi || return
    fi
    if ! [ . -ef /proc/self/fd/8 ]; then
        set -- "$1" "$2" $(stat -c %d ./. /proc/self/fd/8/.)
        [ "$3" = "$4" ] || { move_across "$1" "$2"; return; }
    fi
    why=$(mv -f -T "$from" "./$name" 2>&1) || refuse why "$why"
}

# move_across OVERWRITE STAGE: to another file system it is copied whole, then deleted.
move_across() {
    why=$(cp -a "$from" "./$2" 2>&1 && sync "./$2" 2>&1 && mv -f -T "./$2" "./$name" 2>&1) || {
        refuse why "$why"
        rm -rf "./$2"
        return 1
    }
    sync
    why=$(rm -rf "$from" 2>&1) || refuse why "$why"
}

op_copy() { # FROM TO OVERWRITE DRAFT
    place 1 "$1" && follow 1 "$1" || return
    missing "./$name" && { refuse noent; return; }
    from=/proc/self/fd/8/$name
    if [ -d "./$name" ]; then
        case $2/ in "$1"/*) which=2 && refuse into; return ;; esac
        check_tree "./$name" || return
        { copy_directory "$2" "$4"; } 8<.
    else
        regular "./$name" || return
        [ -r "./$name" ] || { refuse denied; return; }
        { copy_file "$2" "$3" "$4"; } 8<.
    fi
}

# check_tree DIRECTORY: refuse what cannot be copied whole.
check_tree() {
    for fault in $(find "$1" -name "$own" -prune -o -exec sh -c "$faults" sh {} +); do
        refuse "$fault"
        return
    done
}

faults='for e do
    if [ -L "$e" ] || { [ -f "$e" ] && [ -r "$e" ]; }; then :
    elif [ -d "$e" ]; then [ -r "$e" ] && [ -e "$e/." ] || echo denied
    elif [ -f "$e" ]; then echo denied
    else echo special; fi
done'

copy_file() { # TO OVERWRITE DRAFT
    match= executable= in_place= mode=create
    [ ! "$2" ] || mode=overwrite
    place 2 "$1" make || return
    follow 2 "$1" && goal || { take_back "$made" "$kept"; return 1; }
    if [ ! -L "./$name" ] && [ "$from" -ef "./$name" ]; then refuse same; return; fi
    begin "$3" || return
    why=$(dd if="$from" bs=1048576 conv=fsync of="./$3" 2>&1) || { refuse why "$why"; drop "./$3"; return; }
    locked publish_copy "$3" || drop "./$3"
}

publish_copy() {
    goal || return
    if [ -e "./$name" ]; then
        was=$(stat -c "$fields" "./$name") || { refuse changed; return; }
        dress "$1" $was || return
    else
        adopt "./$1"
        with_executable "$(stat -c %f "$from")"
        chmod "$wanted" "./$1"
    fi
    put_in_place "$1" || return
    $sync . || { refuse unsure; return; }
    describe_place
}

copy_directory() { # TO STAGE
    place 2 "$1" make && follow 2 "$1" || return
    if ! missing "./$name"; then refuse exists; take_back "$made" "$kept"; return 1; fi
    umask 0
    why=$(mkdir -m 700 "./$2" 2>&1 && cp -RP "$from" "./$2/copy" 2>&1)
    set -- "$1" "$2" $?
    umask "$mask"
    if [ "$3" = 0 ]; then
        find "./$2/copy" -name "$own" -prune -exec rm -rf {} +
        { [ "$user" != 0 ] || { [ -O . ] && [ -G . ]; }; } || chown -Rh "$(stat -c %u:%g .)" "./$2/copy"
        $sync_tree "./$2"
        locked publish_directory "$2"
    else
        refuse why "$why"
    fi && rmdir "./$2" && { $sync . || { refuse unsure; return; }; } && describe_place && return
    rm -rf "./$2"
    take_back "$made" "$kept"
}

publish_directory() {
    missing "./$name" || { refuse exists; return; }
    why=$(mv -f -T "./$1/copy" "./$name" 2>&1) || refuse why "$why"
}

# Set the mode of entries beneath a directory, whose paths are the body, each with a NUL behind it.
op_chmod() { # DIRECTORY MODE
    enter 1 "$1" || return
    why=$(take 2>/dev/null | xargs -0 chmod "$2" 2>&1) || { body=0; refuse why "$why"; return; }
    body=0
    say ok 0
}

# Clear away what a crash left behind more than an hour ago and nobody holds locked.
op_sweep() { # DIRECTORY
    enter 1 "$1" || return
    if [ "$flock" ]; then set -- flock -n '{}'; else set --; fi
    find . -mindepth 1 -maxdepth 1 \( -name '.devbox-mcp-part-*' -o -name '.devbox-mcp-trash-*' \) -cmin +60 \
        -exec "$@" rm -rf '{}' \;
    say ok 0
}
