# bash completion for sampan. Load it with:  source <(sampan completion bash)
_sampan() {
    local line word files= current="${COMP_WORDS[COMP_CWORD]}"
    local words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    if declare -F _get_comp_words_by_ref >/dev/null; then
        # Names such as image:tag are one word.
        local cword whole
        _get_comp_words_by_ref -n : -c current -w whole -i cword
        words=("${whole[@]:1:cword-1}")
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        word="${line%%$'\t'*}"
        if [[ $word == :files ]]; then files=1; else COMPREPLY+=("$word"); fi
    done < <(sampan __complete "${words[@]}" "$current" 2>/dev/null)
    if [[ $files ]]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
    fi
    [[ ${COMPREPLY[0]} == *: ]] && compopt -o nospace 2>/dev/null
    declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$current"
    return 0
}
complete -F _sampan sampan
