#compdef sampan
# zsh completion for sampan. Load it with:  source <(sampan completion zsh)
_sampan() {
    local line files
    local -a found
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            files=1
        else
            local name="${line%%$'\t'*}"
            if [[ $line == *$'\t'* ]]; then
                found+=("${name//:/\\:}:${line#*$'\t'}")
            else
                found+=("${name//:/\\:}")
            fi
        fi
    done < <(sampan __complete "${(@)words[2,CURRENT-1]}" "${words[CURRENT]}" 2>/dev/null)
    (( ${#found} )) && _describe 'sampan' found
    [[ -n $files ]] && _files
    return 0
}
if [[ $funcstack[1] == _sampan ]]; then _sampan "$@"; else compdef _sampan sampan; fi
