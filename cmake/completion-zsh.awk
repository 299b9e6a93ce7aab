# The lines of make-manual's table as a completion for zsh.
function quoted(text) { gsub(/'/, "'\\''", text); return "'" text "'" }
function told(text) { gsub(/\[|\]|:/, "\\\\&", text); return text }
function add(command, text) { specs[command] = specs[command] " \\\n            " text }
$2 == "command" {
    has[$1] = 1
    add($1, quoted($3 ":" told($4)))
}
$2 == "option" {
    follows = ""
    choices = $6
    gsub(/\|/, " ", choices)
    if ($5 != "") follows = ":" told($5) ":" (choices != "" ? "(" choices ")" : $5 ~ /FILE/ ? "_files" : $5 ~ /DIR/ ? "_files -/" : "")
    add($1, quoted("*--" $3 ($5 != "" ? "=" : "") "[" told($7) "]" follows))
    if ($4 != "") add($1, quoted("*-" $4 ($5 != "" ? "+" : "") "[" told($7) "]" follows))
}
$2 == "arguments" { add($1, quoted("*:" told($3) ":_files")) }
!($1 in seen) { seen[$1] = 1; order[++count] = $1 }
END {
    print "#compdef longhaul longhaul-coordinator longhaul-worker"
    print "# zsh completion for longhaul, made from the programs' own tables of options."
    print "_longhaul() {"
    print "    local command=${words[1]:t} state line"
    print "    integer at=2"
    print "    while (( at < CURRENT )) && [[ -n ${(M)${(f)\"$(_longhaul_lists)\"}:#$command ${words[at]}} ]]; do"
    print "        command+=\" ${words[at]}\""
    print "        (( at++ ))"
    print "    done"
    print "    words=(\"$command\" \"${(@)words[at,-1]}\")"
    print "    (( CURRENT -= at - 2 ))"
    print "    local -a commands"
    print "    case $command in"
    for (i = 1; i <= count; i++) {
        print "        (" quoted(order[i]) ")"
        if (order[i] in has)
            print "            commands=(" specs[order[i]] ")\n            _describe command commands ;;"
        else
            print "            _arguments -s" specs[order[i]] " ;;"
    }
    print "    esac"
    print "}"
    print "_longhaul_lists() {"
    print "    print -l" \
        " \\"
    for (i = 1; i <= count; i++) print "        " quoted(order[i]) (i < count ? " \\" : "")
    print "}"
    print "_longhaul \"$@\""
}
