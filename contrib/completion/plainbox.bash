# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# Completion of plainbox(1) in bash, with or without the package bash-completion.
#
# Ids come from files that anybody may have written, and words from a line that is not
# finished. Both are compared and quoted; nothing here expands or evaluates them.

_plainbox() {
    local words=() choices=()
    _plainbox_words
    local current=${words[-1]} previous=${words[-2]} command=${words[1]}
    [[ ${#words[@]} -gt 2 ]] || command=
    COMPREPLY=()
    case $previous:$current in
        --provider:* | --launcher:* | *:--provider=* | *:--launcher=*)
            compopt -o default  # bash's own completion of paths
            return ;;
        --timeout:* | --job-timeout:*) return ;;
        --report:* | *:--report=*)
            _plainbox_reports
            return ;;
    esac
    case $command:$current in
        :-*) choices=(-h --help --version) ;;
        :*) choices=(doctor explain list run show special) ;;
        doctor:-*) choices=(-h --help --json) ;;
        special:-*) choices=(-h --help -J --list-job-hashes --provider) ;;
        list:-* | show:-*) choices=(-h --help --provider) ;;
        run:-*)
            choices=(-h --help --job-timeout --launcher --per-job --provider --report)
            choices+=(--timeout) ;;
        *:-*) choices=(-h --help) ;;
        list:* | show:* | run:*) mapfile -t choices < <(_plainbox_jobs) ;;
        explain:*) mapfile -t choices < <(_plainbox_codes) ;;
    esac
    _plainbox_offer "${choices[@]}"
}

# The words up to the cursor, as they were typed. COMP_WORDS has them divided at the
# ':' and '=' of COMP_WORDBREAKS: pieces with no blank between them are one word.
_plainbox_words() {
    local rest=${COMP_LINE:0:COMP_POINT} piece
    for piece in "${COMP_WORDS[@]:0:COMP_CWORD}" ''; do
        [[ ${#words[@]} -gt 0 && $rest != [[:space:]]* ]] || words+=('')
        rest=${rest#"${rest%%[![:space:]]*}"}
        words[-1]+=$piece
        rest=${rest#"$piece"}
    done
    words[-1]+=$rest
}

# Full and short ids, one a line. `special -J` runs no job, as `list` would. Not offered
# are ids that plainbox had to escape with a '\', and what would be an option.
_plainbox_jobs() {
    local word previous='' providers=()
    for word in "${words[@]:0:${#words[@]}-1}"; do
        word=${word//[\\\'\"]/}
        [[ $previous != --provider ]] || word=--provider=$word
        [[ $word != --provider=\~/* ]] || word=--provider=$HOME/${word#*/}
        [[ $word != --provider=* ]] || providers+=("$word")
        previous=$word
    done
    command plainbox special -J "${providers[@]}" < /dev/null 2> /dev/null |
        sed -n 's/^[0-9a-f]* //; /\\/d; /^[^-]/p; s/.*:://; /^[^-]/p'
}

# `json=`, and paths behind it.
_plainbox_reports() {
    local path=${current#--report=}
    if [[ $path == json=* ]]; then
        compopt -o default
    else
        compopt -o nospace
        [[ json= != "$path"* ]] || COMPREPLY=(json=)
    fi
}

_plainbox_codes() {
    command plainbox explain < /dev/null 2> /dev/null | sed 's/ .*//; /^$/d'
}

# Offers what begins as the current word does. Readline puts the answer in place of what
# stands behind the last divider; behind a quote, it must need no quoting of its own.
_plainbox_offer() {  # CHOICE...
    local choice quote='' before='' dividers=${COMP_WORDBREAKS//[^:=@]/}
    if [[ $current == [\'\"]* ]]; then
        quote=${current:0:1} current=${current:1}
    else
        current=${current//\\/}
        [[ -z $dividers ]] || before=${current%"${current##*["$dividers"]}"}
    fi
    for choice; do
        [[ $choice == "$current"* ]] || continue
        [[ -n $current || $choice != *::* ]] || continue  # full ids, once begun
        if [[ -z $quote ]]; then
            printf -v choice %q "${choice#"$before"}"
        elif [[ $choice == *[!A-Za-z0-9_.,:/@%+=-]* ]]; then
            continue
        fi
        COMPREPLY+=("$choice")
    done
}

complete -F _plainbox plainbox
