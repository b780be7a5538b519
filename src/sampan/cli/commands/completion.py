"""`sampan completion SHELL`: a script that asks `sampan __complete` for everything."""

from __future__ import annotations

import sys

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument

BASH = r"""# bash completion for sampan. Load it with:  source <(sampan completion bash)
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
"""
ZSH = r"""#compdef sampan
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
"""
FISH = r"""# fish completion for sampan. Load it with:  sampan completion fish | source
function __sampan_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in (sampan __complete $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            printf '%s\n' $line
        end
    end
end
complete -c sampan -f -a '(__sampan_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def run(context: Context, options: Options, arguments: list[str]) -> int:
    shell = arguments[0]
    if shell not in SCRIPTS:
        raise InvalidArgument(f"no completion for {shell!r}", hint=f"there are scripts for {', '.join(SCRIPTS)}")
    sys.stdout.write(SCRIPTS[shell])
    return 0


COMMAND = Command(run, "bash|zsh|fish", 1, 1, completes="shells")
