# The lines of make-manual's table as a completion for bash: for each command its words, and for each option what may
# follow it.
function quoted(text) { gsub(/'/, "'\\''", text); return "'" text "'" }
$2 == "command" { words[$1] = words[$1] " " $3; next }
$2 == "option" {
    words[$1] = words[$1] " --" $3
    follows = $6 != "" ? $6 : $5 ~ /FILE|DIR/ ? "@files" : $5 != "" ? "@any" : ""
    gsub(/\|/, " ", follows)
    if (follows != "") values[$1 " --" $3] = follows
    if (follows != "" && $4 != "") values[$1 " -" $4] = follows
}
$2 == "arguments" && $3 ~ /FILE/ { values[$1 " @"] = "@files" }
END {
    print "# bash completion for longhaul, made from the programs' own tables of options."
    print "declare -A _longhaul_words=("
    for (key in words) print "    [" quoted(key) "]=" quoted(substr(words[key], 2)) | "sort"
    close("sort")
    print ")"
    print "declare -A _longhaul_values=("
    for (key in values) print "    [" quoted(key) "]=" quoted(values[key]) | "sort"
    close("sort")
    print ")"
    print "_longhaul() {"
    print "    local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[0]##*/} previous='' word follows"
    print "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do"
    print "        if [ -n \"${_longhaul_words[\"$command $word\"]+there}\" ]; then command+=\" $word\"; fi"
    print "        previous=$word"
    print "    done"
    print "    # bash cuts --option=value into three words."
    print "    [ \"$current\" != = ] || current=''"
    print "    [ \"$previous\" != = ] || previous=${COMP_WORDS[COMP_CWORD-2]}"
    print "    follows=${_longhaul_values[\"$command $previous\"]-}"
    print "    if [ -z \"$follows\" ] && [[ $current != -* ]]; then follows=${_longhaul_values[\"$command @\"]-}; fi"
    print "    case $follows in"
    print "        @files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$current\") ;;"
    print "        @any) COMPREPLY=() ;;"
    print "        ?*) mapfile -t COMPREPLY < <(compgen -W \"$follows\" -- \"$current\") ;;"
    print "        *) mapfile -t COMPREPLY < <(compgen -W \"${_longhaul_words[$command]}\" -- \"$current\") ;;"
    print "    esac"
    print "}"
    print "complete -F _longhaul longhaul longhaul-coordinator longhaul-worker"
}
