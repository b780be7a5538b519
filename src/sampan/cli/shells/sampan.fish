# fish completion for sampan. Load it with:  sampan completion fish | source
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
