# The lines of make-manual's table as a completion for fish.
function quoted(text) { gsub(/\\/, "\\\\", text); gsub(/'/, "\\'", text); return "'" text "'" }
function condition(words, count, i, text) {
    count = split(words, part, " ")
    text = count == 1 ? "__fish_use_subcommand" : ""
    for (i = 2; i <= count; i++) text = text (i > 2 ? "; and " : "") "__fish_seen_subcommand_from " part[i]
    return text
}
BEGIN { print "# fish completion for longhaul, made from the programs' own tables of options." }
{ split($1, word, " ") }
!(word[1] in seen) { seen[word[1]] = 1; print "complete -c " word[1] " -f" }
$2 == "command" {
    below = condition($1)
    others[$1] = others[$1] " " $3
    line[$1, ++lines[$1]] = "-a " $3 " -d " quoted($4)
    parent[$1] = below
    next
}
$2 == "option" {
    choices = $6
    gsub(/\|/, " ", choices)
    follows = choices != "" ? " -x -a " quoted(choices) : $5 ~ /FILE|DIR/ ? " -r -F" : $5 != "" ? " -x" : ""
    when = $1 ~ / / ? " -n " quoted(condition($1)) : ""
    print "complete -c " word[1] when ($4 != "" ? " -s " $4 : "") " -l " $3 follows " -d " quoted($7)
}
$2 == "arguments" && $3 ~ /FILE/ { print "complete -c " word[1] " -n " quoted(condition($1)) " -F" }
END {
    for (key in lines) {
        split(key, word, " ")
        when = parent[key]
        if (key ~ / /) when = when "; and not __fish_seen_subcommand_from" others[key]
        for (i = 1; i <= lines[key]; i++) print "complete -c " word[1] " -n " quoted(when) " " line[key, i]
    }
}
