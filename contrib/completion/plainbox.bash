# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# Completion of plainbox(1) in bash, with or without the package bash-completion.
#
# Ids come from files that anybody may have written, and words from a line that is not
# finished. Both are compared and quoted; nothing here expands or evaluates them.

_plainbox() {
    local IFS=$' \t\n' words=() choices=()
    _plainbox_words
    local current=${words[-1]} previous=${words[-2]} command=
    [[ ${#words[@]} -le 2 ]] || command=${words[1]}
    [[ $command != session || ${#words[@]} -le 3 ]] || command+=" ${words[2]}"
    COMPREPLY=()
    case $previous:$current in
        *:--*=*) _plainbox_values "${current%%=*}" "${current%%=*}=" ;;
        -o:* | --*:*) _plainbox_values "$previous" '' ;;
        *) false ;;
    esac && return
    if [[ $current == -* ]]; then
        _plainbox_options
    else
        _plainbox_arguments
    fi
    _plainbox_offer "${choices[@]}"
}

_plainbox_options() {
    local choice='--exclude --plan --regex' look='--plain -q --quiet -v --verbose'
    local terms='--job-timeout --launcher --max-output --non-interactive --per-job'
    terms+=' --report --timeout'
    local more=
    case $command in
        '') more=--version ;;
        doctor | sessions) more=--json ;;
        list) more='--json --plans --plugin --provider --root' ;;
        report) more='--format -o --output' ;;
        rerun) more="--failed $look" ;;
        resume) more=$look ;;
        run) more="--provider $choice $terms $look" ;;
        show) more='--json --provider' ;;
        special) more='-J --list-job-hashes --provider' ;;
        submit) more="--provider $choice $terms" ;;
        work) more="--once $look" ;;
    esac
    read -ra choices <<< "-h --help $more"
}

_plainbox_arguments() {
    case $command in
        '')
            choices=(doctor explain list report rerun resume run session sessions show)
            choices+=(special submit work) ;;
        session) choices=(ack rm show) ;;
        explain) mapfile -t choices < <(_plainbox_codes) ;;
        list)
            if [[ " ${words[*]} " == *' --plans '* ]]; then
                mapfile -t choices < <(_plainbox_plans)
            else
                mapfile -t choices < <(_plainbox_jobs)
            fi ;;
        run | show | submit) mapfile -t choices < <(_plainbox_jobs) ;;
        report | rerun | resume | 'session '*)
            mapfile -t choices < <(_plainbox_sessions) ;;
    esac
}

# Values of an option, which stand behind it, or in the same word behind its '='. Fails
# if it takes none.
_plainbox_values() {  # OPTION PREFIX
    case $1:${current#"$2"} in
        --launcher:* | --output:* | -o:* | --provider:* | --report:*=*)
            compopt -o default  # bash's own completion of paths
            return ;;
        --exclude:*) mapfile -t choices < <(_plainbox_jobs) ;;
        --format:*) choices=(text json junit) ;;
        --job-timeout:* | --max-output:* | --timeout:*) ;;
        --plan:*) mapfile -t choices < <(_plainbox_plans) ;;
        --plugin:*)
            choices=(attachment local manual resource shell user-interact)
            choices+=(user-interact-verify user-verify) ;;
        --report:*)
            compopt -o nospace
            choices=(text= json= junit=) ;;
        *) return 1 ;;
    esac
    _plainbox_offer "${choices[@]/#/$2}"
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
    _plainbox_listed special -J |
        sed -n 's/^[0-9a-f]* //; /\\/d; /^[^-]/p; s/.*:://; /^[^-]/p'
}

# Short ids, from the first column. This runs no job either.
_plainbox_plans() {
    _plainbox_listed list --plans | sed '/\\/d; /^-/d; s/  .*//'
}

# What plainbox lists of the providers on the line, too.
_plainbox_listed() {  # COMMAND...
    local word previous='' providers=()
    for word in "${words[@]:0:${#words[@]}-1}"; do
        word=${word//[\\\'\"]/}
        [[ $previous != --provider ]] || word=--provider=$word
        [[ $word != --provider=\~/* ]] || word=--provider=$HOME/${word#*/}
        [[ $word != --provider=* ]] || providers+=("$word")
        previous=$word
    done
    command plainbox "$@" "${providers[@]}" < /dev/null 2> /dev/null
}

_plainbox_sessions() {
    command plainbox sessions < /dev/null 2> /dev/null | sed 's/ .*//; /^$/d'
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
        [[ -n ${current#--*=} || $choice != *::* ]] || continue  # full ids, once begun
        if [[ -z $quote ]]; then
            printf -v choice %q "${choice#"$before"}"
        elif [[ $choice == *[!A-Za-z0-9_.,:/@%+=-]* ]]; then
            continue
        fi
        COMPREPLY+=("$choice")
    done
}

complete -F _plainbox plainbox
