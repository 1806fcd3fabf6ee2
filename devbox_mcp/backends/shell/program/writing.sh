# Writing files: a draft under a hidden name beside the target, flushed, checked, and renamed over it.

# goal: refuse what cannot be written at the place; $mode is overwrite, create or append.
goal() {
    missing "./$name" && return
    if [ -L "./$name" ]; then
        refuse changed
    elif [ "$mode" = create ]; then
        refuse exists
    elif regular "./$name"; then
        [ -w "./$name" ] && return
        refuse why "$( (true >>"./$name") 2>&1)"
    fi
    return 1
}

# aim PATH: go where it is to be written, making missing directories unless a version is asked for.
aim() {
    if [ "$match" ]; then place 1 "$1"; else place 1 "$1" make; fi || return
    follow 1 "$1" && goal && return
    take_back "$made" "$kept"
    return 1
}

# begin DRAFT: make it, empty; only its owner reads what is to replace a file until it is dressed like it.
begin() {
    set -C
    if missing "./$name"; then true >"./$1"; else umask 077 && true >"./$1"; fi
    began=$?
    set +C
    umask "$mask"
    [ "$began" = 0 ] && return
    refuse why "$( (true >"./$1") 2>&1)"
    rm -f "./$1"
    take_back "$made" "$kept"
    return 1
}

# drop DRAFT…: give up.
drop() {
    rm -f "$@"
    take_back "$made" "$kept"
    return 1
}

# One small file, whole: the body is its content.
op_put() { # PATH DRAFT SHA256 MODE MATCH EXECUTABLE IN_PLACE
    mode=$4 match=$5 executable=$6 in_place=$7
    aim "$1" && begin "$2" || return
    if [ "$body" != 0 ]; then
        fill "./$2" conv=fsync || { refuse why "$why"; drop "./$2"; return; }
    fi
    finish "$2" "$3" small
}

# The start of a file that comes in pieces.
op_draft() { # PATH DRAFT MODE MATCH
    mode=$3 match=$4
    aim "$1" && begin "$2" && say ok 0 "$kept" ${made:+made}
}

# One more piece of it: the body, at the end of what is there. In another container than before nothing is.
op_add() { # DIRECTORY DRAFT
    enter 1 "$1" || return
    [ -f "./$2" ] || { refuse lost; return; }
    fill "./$2" || { refuse why "$why"; return; }
    say ok 0
}

# The end of it.
op_commit() { # PATH DRAFT SHA256 MODE MATCH EXECUTABLE IN_PLACE
    mode=$4 match=$5 executable=$6 in_place=$7
    place 1 "$1" || return
    [ -f "./$2" ] || { refuse lost; return; }
    why=$($sync "./$2" 2>&1) || { refuse why "$why"; return; }
    finish "$2" "$3"
}

# Giving it up: remove the draft (a directory for a batch), and the directories that were made for it.
op_discard() { # DIRECTORY DRAFT MADE KEPT
    enter 1 "$1" || return
    rm -rf "./$2"
    [ -z "$3" ] || take_back "$1" "$4"
    say ok 0
}

# finish DRAFT SHA256 [small]: check it, and put it in place under the lock. A small one is checked while the lock is
# taken: to start a program takes longer than what it does here.
finish() {
    whole=
    if [ "$3" ] && [ "$flock" ] && [ -r . ]; then
        { flock -n 7 & check_and_publish "$1" "$2" $!; } 7<.
    else
        checked "$1" "$2" && locked publish "$1"
    fi || drop "./$1" ${whole:+"./$whole"}
}

# check_and_publish DRAFT SHA256 PID: that process takes the lock, unless somebody else has it.
check_and_publish() {
    checked "$1" "$2"
    set -- "$1" $? "$3"
    wait "$3" && held=1 || held=
    [ "$2" = 0 ] && { [ "$held" ] || hold 7; } && publish "$1"
}

# checked DRAFT SHA256: refuse other bytes than were sent.
checked() {
    hash "./$1" || return
    [ "$hashed" = "$2" ] || { refuse integrity; return 1; }
}

# publish DRAFT: under the lock, look again and put it in the target's place.
publish() {
    goal || return
    previous=- created=1 broken=0
    [ ! -e "./$name" ] || created=0
    check_version "./$name" || return
    if [ "$created" = 0 ]; then
        if [ -z "$in_place" ] && [ "$mode" = overwrite ] && plain "./$name"; then
            { publish_like "$1"; } 8<"./$name"
            return
        fi
        was=$(stat -c "$fields" "./$name") || { refuse changed; return 1; }
    fi
    if [ "$created" = 0 ] && [ "$in_place" ]; then
        write_over "$1" || return
    else
        if [ "$created" = 0 ] && [ "$mode" = append ]; then
            append_to_copy "$1" || return
            set -- "$whole"
        fi
        if [ "$created" = 0 ]; then dress "$1" $was; else dress_new "$1"; fi || return
        put_in_place "$1" || return
    fi
    $sync . &
    now=$(stat -c "$fields" "./$name") && wait $! || { refuse unsure; return; }
    say ok 0 "$created $broken $previous $hashed $now"
}

# plain FILE: whether its replacement needs no more than `cp` can copy.
plain() {
    [ "$attributes" ] && [ -z "$executable" ] && [ -r "$1" ] && [ -O "$1" ] && [ -G "$1" ] &&
        [ ! -u "$1" ] && [ ! -g "$1" ] && [ ! -k "$1" ]
}

# publish_like DRAFT: in the place of a plain file, which handle 8 is: so it can be asked afterwards how many other
# names it has.
publish_like() {
    cp -a --attributes-only --no-preserve=timestamps "./$name" "./$1"
    put_in_place "$1" || return
    $sync . &
    now=$(stat -L -c "$fields" "./$name" /proc/self/fd/8) && wait $! || { refuse unsure; return; }
    set -- $now
    say ok 0 "0 ${15} $previous $hashed ${now%%"$newline"*}"
}

# check_version FILE: refuse another version than $match, if one is asked for. $previous is what it was.
check_version() {
    [ "$match" ] || return 0
    missing "$1" && { refuse conflict; return; }
    fresh=$hashed
    regular "$1" && hash "$1" || return
    previous=$hashed hashed=$fresh
    case $previous in
        "$match"*) ;;
        *) refuse conflict "$previous" ;;
    esac
}

# write_over DRAFT: into the file itself, which keeps its links and is not atomic.
write_over() {
    if [ "$mode" = append ]; then
        why=$(dd if="./$1" bs=65536 conv=notrunc,fsync 2>&1 >>"./$name")
    else
        why=$(dd if="./$1" bs=65536 conv=fsync of="./$name" 2>&1)
    fi || { refuse why "$why"; return; }
    if [ "$executable" ]; then
        set -- "$1" $was
        with_executable "$2"
        chmod "$wanted" "./$name"
    fi
    [ "$mode" != append ] || hash "./$name" || return
    rm -f "./$1"
}

# append_to_copy DRAFT: the old content and the new in $whole, under the lock, for what is appended meanwhile counts.
append_to_copy() {
    whole=$1-whole
    umask 077
    why=$(cat "./$name" "./$1" 2>&1 >"./$whole")
    set -- $?
    umask "$mask"
    [ "$1" = 0 ] && why=$($sync "./$whole" 2>&1) || { refuse why "$why"; return; }
    hash "./$whole" && rm -f "./${whole%-whole}"
}

# with_executable RAW: the permission bits of a raw mode in hex, as $executable wants them, in octal as $wanted.
with_executable() {
    wanted=$((0x$1 & 511))
    case $executable in
        1) wanted=$((wanted | (wanted & 292) >> 2)) ;;
        0) wanted=$((wanted & ~73)) ;;
    esac
    wanted=$((wanted >> 6 & 7))$((wanted >> 3 & 7))$((wanted & 7))
}

# dress DRAFT RAW SIZE LINKS INODE OWNER GROUP …: give it what the old file has, of which the rest is the stat.
dress() {
    broken=$(($4 - 1))
    with_executable "$2"
    if [ "$attributes" ]; then
        cp -a --attributes-only --no-preserve=timestamps "./$name" "./$1"
    elif ! { [ -O "./$name" ] && [ -G "./$name" ]; }; then
        chown "$6:$7" "./$1"
    fi
    if ! { [ -O "./$name" ] && [ -G "./$name" ]; } && [ "$(stat -c %u:%g "./$1")" != "$6:$7" ]; then
        # not ours to give away: for whom it was not open before it does not become so
        chgrp "$7" "./$1" || wanted=${wanted%??}${wanted##??}${wanted##??}
    fi
    if [ "$attributes" ] && [ -z "$executable" ] && [ $((0x$2 & 3584)) = 0 ] && [ -O "./$name" ]; then return 0; fi
    why=$(chmod "$wanted" "./$1" 2>&1) || refuse why "$why"
}

# dress_new DRAFT: what a new file gets.
dress_new() {
    adopt "./$1"
    [ "$executable" = 1 ] || return 0
    with_executable "$(stat -c %f "./$1")"
    why=$(chmod "$wanted" "./$1" 2>&1) || refuse why "$why"
}

# put_in_place DRAFT: rename it, or with `create` link it, which refuses a name that is taken.
put_in_place() {
    if [ "$mode" = create ] && ln -T "./$1" "./$name"; then
        rm -f "./$1"
    elif [ "$mode" = create ] && ! missing "./$name"; then
        refuse exists
    else
        why=$(mv -f -T "./$1" "./$name" 2>&1) || refuse why "$why"
    fi
}
